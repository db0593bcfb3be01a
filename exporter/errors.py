"""
The one tree of errors.

    ExporterError                 a sentence for the user, with a remedy
    ├── UsageError                what was asked cannot be done: port in use, unwritable file
    ├── ConfigError               faults of the config file (raised by ``config``)
    └── ApiError                  one ticket or account could not be read; ``reason`` is a label value
        ├── ConnectFailed         connect         nothing answered at this address
        ├── TlsFailed             tls             the certificate cannot be verified
        ├── TimedOut              timeout         no answer in time
        ├── ProtocolBroken        protocol        the answer broke off or is not HTTP
        ├── BodyTooLarge          too_large       the answer exceeds our bound
        ├── RateLimited           rate_limited    the API asked us to slow down
        ├── ServerFailed          server_error    5xx, or COC.00040701
        ├── Unauthorized          unauthorized    the credentials were refused
        │   ├── TokenRejected     token_rejected  the token is expired, revoked or of another region
        │   ├── KeyLocked         key_locked      too many failures: the API locks the key for five minutes
        │   ├── ClockSkewed       clock_skew      our clock is too far from the API's
        │   └── SecretUnreadable  secret          a credential cannot be read from its file or variable
        ├── Forbidden             forbidden       the credentials lack a permission
        ├── NotFound              not_found       the API knows no such ticket
        ├── BadRequest            bad_request     the API refused the request as such
        ├── UnexpectedStatus      unexpected_status  a redirect, 204, or a status no page tells of
        ├── Malformed             malformed       the body is not what the API documents
        ├── Incomplete            incomplete      the pages ended before the stated total
        ├── Empty                 empty           sign-in works, yet nothing at all is found
        ├── Paused                paused          we hold back: open circuit or lock
        └── DeadlinePassed        deadline        the poll's time was over

Reasons are a closed set: they are values of the label ``reason``.
"""


class ExporterError(Exception):
    """A fault to be shown to the user as one sentence; ``names_its_place`` when that begins with file and line."""

    names_its_place = False


class UsageError(ExporterError):
    """What was asked for cannot be done here."""


class ApiError(ExporterError):
    """A request, or the reading of a ticket, that failed."""

    reason = "api"
    retryable = False


class ConnectFailed(ApiError):
    """Nothing answered: refused, reset while connecting, or the name does not resolve."""

    reason = "connect"
    retryable = True


class TlsFailed(ApiError):
    """The peer's certificate could not be verified."""

    reason = "tls"


class TimedOut(ApiError):
    """No answer within ``poll.request_timeout``."""

    reason = "timeout"
    retryable = True


class ProtocolBroken(ApiError):
    """The connection broke off in the middle, or the peer does not speak HTTP."""

    reason = "protocol"
    retryable = True


class BodyTooLarge(ApiError):
    """The body exceeds our bound, before or after decompression."""

    reason = "too_large"


class RateLimited(ApiError):
    """HTTP 429; ``retry_after`` is the server's own delay in seconds, if it stated one."""

    reason = "rate_limited"
    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerFailed(ApiError):
    """HTTP 5xx, or the service's own "internal error"; ``retry_after`` in seconds, if stated."""

    reason = "server_error"
    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unauthorized(ApiError):
    """The credentials were refused."""

    reason = "unauthorized"


class TokenRejected(Unauthorized):
    """The token is expired, revoked, or belongs to another region."""

    reason = "token_rejected"


class KeyLocked(Unauthorized):
    """The API locked the access key or the user after repeated failures."""

    reason = "key_locked"


class ClockSkewed(Unauthorized):
    """The signature's time is too far from the API's clock."""

    reason = "clock_skew"


class SecretUnreadable(Unauthorized):
    """A credential cannot be read from its file or variable."""

    reason = "secret"


class Forbidden(ApiError):
    """The credentials are known but lack a permission."""

    reason = "forbidden"


class NotFound(ApiError):
    """The API knows no such ticket (HTTP 400 with COC.00040709, or 404)."""

    reason = "not_found"


class BadRequest(ApiError):
    """The API refused the request as such."""

    reason = "bad_request"


class UnexpectedStatus(ApiError):
    """A redirect, or a status that no page of the API tells of."""

    reason = "unexpected_status"


class Malformed(ApiError):
    """The body is not what the API documents."""

    reason = "malformed"


class Incomplete(ApiError):
    """The pages ended before as many instances were held as the API states."""

    reason = "incomplete"


class Empty(ApiError):
    """Sign-in works and the listing is empty: often the wrong site for the account."""

    reason = "empty"


class Paused(ApiError):
    """No request was made: the circuit is open or the key is locked; ``until`` in Unix seconds."""

    reason = "paused"

    def __init__(self, message: str, until: float) -> None:
        super().__init__(message)
        self.until = until


class DeadlinePassed(ApiError):
    """The poll's time was over before this ticket was read."""

    reason = "deadline"
