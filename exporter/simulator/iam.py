"""IAM and the ECS metadata service, as far as an exporter signs in through them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from exporter.simulator.credentials import (
    Token,
    issue_token,
    read_token,
    temporary_key,
    timestamp,
)
from exporter.simulator.messages import Answer, iam
from exporter.simulator.model import dumps

if TYPE_CHECKING:
    from exporter.simulator.credentials import Credentials
    from exporter.simulator.faults import Switches
    from exporter.simulator.messages import Request

_FAILURES, _LOCK = 5, 15 * 60
_LONGEST_TTL = 21_600


class Iam:
    """Issues tokens for passwords; remembers only wrong passwords in a row."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._failures = 0
        self._locked_until = 0.0

    def token(self, request: Request, now: float, switches: Switches) -> Answer:
        """Answer ``POST /v3/auth/tokens`` with method ``password``."""
        identity, wanted = _read(request)
        self._check_user(identity, now)
        scope, shown = self._scope(wanted)
        expires = int(now) + self._credentials.token_lifetime
        text = issue_token(self._credentials, "token", Token(expires, scope, switches.revoked_tokens))
        body = {"token": self._token_body(now, expires) | shown}
        return Answer(dumps(body), 201, headers={"X-Subject-Token": text})

    def projects(self, request: Request) -> Answer:
        """Answer ``GET /v3/projects?name=``."""
        name = request.query.get("name")
        known = self._credentials.projects.items()
        found = [_project(self._credentials, *pair) for pair in known if name in {None, pair[0]}]
        return Answer(dumps({"projects": found, "links": {"self": request.raw_path}}))

    def _check_user(self, user: dict[str, Any], now: float) -> None:
        if now < self._locked_until:
            raise iam(401, "Unauthorized", "The user is locked. Try again 15 minutes later.")
        claimed = (user["domain"]["name"], user["name"], user["password"])
        true = (self._credentials.domain, self._credentials.user, self._credentials.password)
        if claimed == true:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= _FAILURES:
            self._locked_until, self._failures = now + _LOCK, 0
        raise iam(401, "Unauthorized", "The username or password is wrong.")

    def _scope(self, wanted: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        known = self._credentials
        if "domain" in wanted:
            if wanted["domain"] not in ({"name": known.domain}, {"id": known.domain_id}):
                raise iam(401, "Unauthorized", "The domain of the scope does not exist or is not yours.")
            return known.domain_id, {"domain": _domain(known)}
        for name, identifier in known.projects.items():
            if wanted["project"] in ({"name": name}, {"id": identifier}):
                return identifier, {"project": {"name": name, "id": identifier, "domain": _domain(known)}}
        raise iam(401, "Unauthorized", "The project of the scope does not exist or is not yours.")

    def _token_body(self, now: float, expires: int) -> dict[str, Any]:
        user = {"name": self._credentials.user, "id": "demo-user-id", "domain": _domain(self._credentials)}
        return {
            "expires_at": timestamp(expires),
            "issued_at": timestamp(now),
            "methods": ["password"],
            "catalog": [],
            "roles": [{"id": "0", "name": "op_gated_coc"}],
            "user": user,
        }


def _read(request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return user and scope of a sign-in; anything of another shape is a bad request."""
    try:
        auth = json.loads(request.body)["auth"]
        user = auth["identity"]["password"]["user"]
        scope = auth.get("scope", {"domain": {"name": user["domain"]["name"]}})
        complete = isinstance(user["name"], str) and isinstance(user["password"], str) and user["domain"]["name"]
        well = complete and auth["identity"]["methods"] == ["password"] and len(scope) == 1
    except (ValueError, KeyError, TypeError, AttributeError):
        well = False
    if not well or not {"project", "domain"} & set(scope):
        raise iam(400, "Bad Request", "The request body is invalid.")
    return user, scope


def _domain(credentials: Credentials) -> dict[str, str]:
    return {"name": credentials.domain, "id": credentials.domain_id}


def _project(credentials: Credentials, name: str, identifier: str) -> dict[str, Any]:
    common = {"domain_id": credentials.domain_id, "parent_id": credentials.domain_id, "is_domain": False}
    return common | {"id": identifier, "name": name, "description": "", "enabled": True}


def metadata_token(credentials: Credentials, request: Request, now: float, switches: Switches) -> Answer:
    """Answer ``PUT /meta-data/latest/api/token``; without token mode it does not exist."""
    if switches.metadata in {"plain", "absent"}:
        raise iam(404, "Not Found", "404 Not Found")
    ttl = request.headers.get("x-metadata-token-ttl-seconds", "")
    if not (ttl.isdecimal() and 0 < int(ttl) <= _LONGEST_TTL):
        raise iam(400, "Bad Request", "X-Metadata-Token-Ttl-Seconds must be 1 to 21600")
    text = issue_token(credentials, "metadata", Token(int(now) + int(ttl), "metadata", 0))
    return Answer(text.encode(), content_type="text/plain")


def security_key(credentials: Credentials, request: Request, now: float, switches: Switches) -> Answer:
    """Answer ``GET /openstack/latest/securitykey`` with the agency's temporary key."""
    if switches.metadata == "absent":
        raise iam(404, "Not Found", "404 Not Found")
    if switches.metadata == "no_agency":
        raise iam(401, "Unauthorized", "Please configure Cloud Service Agency first")
    if switches.metadata == "token":
        _check_metadata_token(credentials, request, now)
    key = temporary_key(credentials, int(now) + credentials.key_lifetime)
    fields = {"access": key.access, "secret": key.secret, "securitytoken": key.security_token}
    return Answer(dumps({"credential": fields | {"expires_at": timestamp(key.expires)}}))


def _check_metadata_token(credentials: Credentials, request: Request, now: float) -> None:
    token = read_token(credentials, "metadata", request.headers.get("x-metadata-token", ""))
    if token is None or token.expires <= now:
        raise iam(401, "Unauthorized", "Invalid metadata token")
