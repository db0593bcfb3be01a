"""The config as it is written and as it is used: one frozen model. Defaults stand here and nowhere else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from exporter.config import fields, urls
from exporter.config.fields import AS_DURATION, AS_MASK, AS_NUMBER, Ways, choice, duration, number, text, whole
from exporter.config.secret import FileSecret, Secret

LONGEST = 30 * 86_400
"""No execution that is longer is believed, so no bucket, in seconds, needs to be."""

_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"

Flag = Annotated[bool, PlainValidator(fields.flag)]
Text = Annotated[str, text(_PRINTABLE + "{1,200}", "text of 1 to 200 printable characters")]
ShortText = Annotated[str, text(_PRINTABLE + "{1,64}", "text of 1 to 64 printable characters")]
LabelValue = Annotated[str, text(_PRINTABLE + "{0,200}", "text of at most 200 printable characters")]
LabelName = Annotated[str, text("[a-z_][a-z0-9_]{0,63}", "a label name of a-z, 0-9 and _ that begins with no digit")]
# The name is a part of the path of pages, where a slash or a dot alone would lead elsewhere.
AccountName = Annotated[
    str,
    text(
        r"(?!\.{1,2}$|\s|.*\s$)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\]{1,64}",
        "text of 1 to 64 printable characters without slashes",
    ),
]
ExecuteUuid = Annotated[str, text("[A-Za-z0-9_-]{1,26}", "1 to 26 of A-Z a-z 0-9 _ -")]
Identifier = Annotated[str, text("[A-Za-z0-9_-]{1,64}", "1 to 64 of A-Z a-z 0-9 _ -")]
Language = Annotated[str, choice("en-us", "zh-cn")]
Status = Annotated[str, choice("READY", "PROCESSING", "ABNORMAL", "PAUSED", "CANCELED", "FINISHED", "ROLLBACKED")]
Endpoint = Annotated[str, PlainValidator(urls.endpoint)]
SecretField = Annotated[Secret, PlainValidator(fields.secret), AS_MASK]


class Section(BaseModel):
    """A mapping of the file: frozen, and no key unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SecretSection(Section):
    """A mapping with secrets, each ``x`` given as one of ``x``, ``x_env`` and ``x_file``."""

    secrets: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        rest = dict(value)
        for name in cls.secrets:
            ways = [key for key in (name, f"{name}_env", f"{name}_file") if key in rest]
            if ways:
                rest[name] = Ways(name, {key: rest.pop(key) for key in ways})
        return rest


class TokenSignIn(SecretSection):
    """A token that somebody else renews."""

    secrets = ("token",)

    token: SecretField


class PasswordSignIn(SecretSection):
    """An IAM user's password; exactly one of ``project``, ``project_id`` and ``scope_domain`` is the scope."""

    secrets = ("password",)

    domain: ShortText
    username: ShortText
    password: SecretField
    project: ShortText | None = None
    project_id: Identifier | None = None
    scope_domain: ShortText | None = None


class AkskSignIn(SecretSection):
    """An access key and its secret key; temporary ones have a security token."""

    secrets = ("access_key", "secret_key", "security_token")

    access_key: SecretField
    secret_key: SecretField
    security_token: SecretField | None = None


class EcsMetadataSignIn(Section):
    """Temporary keys of the host's own agency."""

    endpoint: Annotated[str, PlainValidator(urls.metadata_endpoint)] = "http://169.254.169.254"


class Auth(Section):
    """Exactly one kind of sign-in."""

    token: TokenSignIn | None = None
    password: PasswordSignIn | None = None
    aksk: AkskSignIn | None = None
    # "ecs_metadata:" with nothing behind it is as good as "ecs_metadata: {}".
    ecs_metadata: Annotated[EcsMetadataSignIn | None, BeforeValidator(lambda given: {} if given is None else given)] = (
        None
    )

    @property
    def kind(self) -> str:
        """The kind of sign-in: ``token``, ``password``, ``aksk`` or ``ecs_metadata``."""
        return next((name for name in type(self).model_fields if getattr(self, name) is not None), "")

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """Yield each secret with its path below ``auth``."""
        section = getattr(self, self.kind, None)
        for name in getattr(section, "secrets", ()):
            secret = getattr(section, name)
            if secret is not None:
                yield f"{self.kind}.{name}", secret


class Tls(Section):
    """How the API's certificate is verified."""

    ca_file: Annotated[Path, PlainValidator(fields.file_path), PlainSerializer(str)] | None = None
    insecure_skip_verify: Flag = False


class Ticket(Section):
    """A ticket that is watched; no ``batches`` means all."""

    execute_uuid: ExecuteUuid
    name: Text | None = None
    labels: dict[LabelName, LabelValue] = Field(default_factory=dict)
    batches: tuple[Annotated[int, whole(1, 20)], ...] = ()


class Discovery(Section):
    """Which tickets are found by listing; what is not given filters nothing."""

    created_within: Annotated[float, duration("1s", "365d"), AS_DURATION] | None = None
    status: tuple[Status, ...] = ()
    creator: ShortText | None = None
    name_regex: Annotated[str, PlainValidator(fields.regex)] | None = None
    max_tickets: Annotated[int, whole(1, 10_000)] = 500


class Account(Section):
    """An account, its sign-in, and its tickets."""

    name: AccountName
    region: ShortText | None = None
    endpoint: Endpoint | None = None
    iam_endpoint: Endpoint | None = None
    project_id: Identifier | None = None
    language: Language = "en-us"
    console_url: Annotated[str, PlainValidator(urls.console)] | None = None
    tls: Tls = Tls()
    proxy_url: Annotated[str, PlainValidator(urls.proxy), PlainSerializer(urls.without_userinfo)] | None = Field(
        default=None, repr=False
    )
    auth: Auth
    tickets: tuple[Ticket, ...] = ()
    discovery: Discovery | None = None

    @property
    def api_url(self) -> str:
        """The root of the COC API, without a slash at the end."""
        return self.endpoint or urls.REGIONS[self.region or ""].api

    @property
    def iam_url(self) -> str:
        """The root of IAM, likewise; empty when neither region nor file tells, and then no sign-in needs it."""
        site = urls.REGIONS.get(self.region or "")
        return self.iam_endpoint or (site.iam if site else "")


class Poll(Section):
    """How often and how hard the API is asked; times in seconds, limits per account."""

    interval: Annotated[float, duration("1s", "1h"), AS_DURATION] = 30.0
    request_timeout: Annotated[float, duration("100ms", "5m"), AS_DURATION] = 10.0
    concurrency: Annotated[int, whole(1, 64)] = 8
    requests_per_second: Annotated[float, number(200), AS_NUMBER] = 10.0
    page_limit: Annotated[int, whole(1, 100)] = 50
    max_attempts: Annotated[int, whole(1, 10)] = 3
    stale_after: Annotated[float, duration("1s", "30d"), AS_DURATION] = 300.0
    full_refresh: Annotated[float, duration("1s", "30d"), AS_DURATION] = 3600.0
    keep_finished: Annotated[float, duration("0s", "365d"), AS_DURATION] = 86400.0


class Metrics(Section):
    """What is exposed; buckets in seconds."""

    per_batch: Flag = True
    abnormal_instances: Annotated[int, whole(0, 10_000)] = 50
    duration_buckets: Annotated[tuple[Annotated[float, number(LONGEST), AS_NUMBER], ...], Field(max_length=50)] = (
        1.0,
        5.0,
        15.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        1200.0,
        1800.0,
    )


class Web(Section):
    """What pages show."""

    show_logs: Flag = True


class FailureReason(Section):
    """A name for failures whose log matches the pattern."""

    reason: Annotated[str, PlainValidator(fields.reason)]
    pattern: Annotated[str, PlainValidator(fields.failure_pattern)]


class Config(Section):
    """The whole file."""

    accounts: tuple[Account, ...]
    poll: Poll = Poll()
    metrics: Metrics = Metrics()
    web: Web = Web()
    failure_reasons: Annotated[tuple[FailureReason, ...], Field(max_length=50)] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is accepted and yet unwise, as sentences."""
        return tuple(
            warning
            for index, account in enumerate(self.accounts)
            for warning in _warnings(f"accounts[{index}]", account)
        )


def _warnings(path: str, account: Account) -> Iterator[str]:
    for name, secret in account.auth.secrets():
        file = secret.world_readable
        if file is not None:
            way = "_file" if isinstance(secret, FileSecret) else ""
            yield f"{path}.auth.{name}{way}: every user of this host may read {file}; chmod 600 would stop that."
    if account.tls.insecure_skip_verify:
        yield f"{path}.tls.insecure_skip_verify: anyone on the way to the API can read and alter what is sent."
