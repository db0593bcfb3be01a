"""
What must hold between keys.

It is checked on the values as they were read, so that a fault inside a section hides none of these.
What has the wrong type is passed over here: the model says so.
"""

from collections.abc import Iterator, Mapping

from exporter.config import durations
from exporter.config.faults import Loc
from exporter.config.model import LONGEST, Auth, Poll
from exporter.config.urls import REGIONS

Complaint = tuple[Loc, str]
Mapped = Mapping[str, object]

_KINDS = tuple(Auth.model_fields)
_DEFAULTS = Poll()
_POLL_DEFAULTS = (("interval", _DEFAULTS.interval), ("stale_after", _DEFAULTS.stale_after))
_SCOPES = ("project", "project_id", "scope_domain")


def complaints(data: object) -> Iterator[Complaint]:
    """Yield what is wrong between keys."""
    root = _mapping(data)
    if root.get("accounts") == []:
        yield ("accounts",), "is empty, accepted is a list of at least one account"
    accounts = list(_mappings(root.get("accounts"), ("accounts",)))
    yield from _repeated(accounts, "name", "name")
    for loc, account in accounts:
        yield from _account(loc, account)
    yield from _poll(_mapping(root.get("poll")))
    yield from _buckets(_mapping(root.get("metrics")).get("duration_buckets"))


def _account(loc: Loc, account: Mapped) -> Iterator[Complaint]:
    yield from _site(loc, account)
    yield from _auth((*loc, "auth"), account.get("auth"))
    yield from _tickets(loc, account)


def _site(loc: Loc, account: Mapped) -> Iterator[Complaint]:
    region, known = account.get("region"), ", ".join(REGIONS)
    if region is not None and (not isinstance(region, str) or region in REGIONS):
        return
    if account.get("endpoint") is None:
        state = "is missing" if region is None else "is not known"
        yield (*loc, "region"), f"{state}, accepted is one of {known}; anywhere else needs endpoint and iam_endpoint"
    elif account.get("iam_endpoint") is None and "password" in _mapping(account.get("auth")):
        yield (
            (*loc, "iam_endpoint"),
            "is missing: auth.password signs in at IAM, and without a known region nothing else says where",
        )


def _auth(loc: Loc, auth: object) -> Iterator[Complaint]:
    if not isinstance(auth, dict):
        return
    kinds = [kind for kind in _KINDS if _is_given(auth, kind)]
    if len(kinds) != 1:
        yield loc, f"has {_count('sign-in', kinds)}, accepted is exactly one of {', '.join(_KINDS)}"
    password = auth.get("password")
    if isinstance(password, dict):
        scopes = [scope for scope in _SCOPES if password.get(scope) is not None]
        if len(scopes) != 1:
            yield (*loc, "password"), f"has {_count('scope', scopes)}, accepted is exactly one of {', '.join(_SCOPES)}"


def _is_given(auth: Mapped, kind: str) -> bool:
    # Nothing behind "ecs_metadata:" asks for its defaults.
    return kind in auth and (kind == "ecs_metadata" or auth[kind] is not None)


def _count(what: str, given: list[str]) -> str:
    return f"more than one {what} ({', '.join(given)})" if given else f"no {what}"


def _tickets(loc: Loc, account: Mapped) -> Iterator[Complaint]:
    given = account.get("tickets")
    if given in (None, []) and account.get("discovery") is None:
        yield (*loc, "tickets"), "is empty, accepted is at least one ticket, or discovery"
    tickets = list(_mappings(given, (*loc, "tickets")))
    yield from _repeated(tickets, "execute_uuid", "ticket")
    for place, ticket in tickets:
        yield from _twice(ticket.get("batches"), (*place, "batches"))


def _poll(poll: Mapped) -> Iterator[Complaint]:
    interval, stale_after = (_seconds(poll.get(key), default) for key, default in _POLL_DEFAULTS)
    if interval is not None and stale_after is not None and stale_after < interval:
        key = "stale_after" if "stale_after" in poll else "interval"
        yield (
            ("poll", key),
            (
                f"makes every ticket stale between two polls: stale_after is {durations.written(stale_after)},"
                f" accepted is at least the interval, {durations.written(interval)}"
            ),
        )


def _seconds(value: object, default: float) -> float | None:
    if value is None:
        return default
    return durations.seconds(value) if isinstance(value, str) else None


def _buckets(buckets: object) -> Iterator[Complaint]:
    if buckets == []:
        yield ("metrics", "duration_buckets"), "is empty, accepted is a list of at least one number"
    largest = 0.0
    for index, bound in enumerate(buckets if isinstance(buckets, list) else []):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound <= LONGEST:
            continue
        if bound <= largest:
            yield ("metrics", "duration_buckets", index), "is not above the one before, accepted are ascending numbers"
        largest = max(largest, bound)


def _repeated(sections: list[tuple[Loc, Mapped]], key: str, what: str) -> Iterator[Complaint]:
    """Yield a complaint for each section whose key has the value of an earlier one."""
    seen: dict[str, Loc] = {}
    for loc, section in sections:
        value = section.get(key)
        if not isinstance(value, str):
            continue
        if value in seen:
            yield (*loc, key), f"is the same {what} as {seen[value][-2]}[{seen[value][-1]}], accepted is each once"
        seen.setdefault(value, loc)


def _twice(values: object, loc: Loc) -> Iterator[Complaint]:
    seen: set[object] = set()
    for index, value in enumerate(values if isinstance(values, list) else []):
        if type(value) is int and value in seen:
            yield (*loc, index), "is given twice, accepted is each batch once"
        seen.add(value if type(value) is int else None)


def _mappings(value: object, loc: Loc) -> Iterator[tuple[Loc, Mapped]]:
    for index, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield (*loc, index), item


def _mapping(value: object) -> Mapped:
    return value if isinstance(value, dict) else {}
