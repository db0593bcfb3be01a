"""Snapshots to look at: every state that the pages know, told by hand."""

from __future__ import annotations

from collections import Counter
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from exporter.pages import Desk
from exporter.snapshot import (
    AccountState,
    Batch,
    Failure,
    Fault,
    Host,
    Instance,
    Reading,
    Snapshot,
    Statistics,
    StatusCount,
    Ticket,
    Watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_767_323_700.0
INTERVAL = 30.0

PATTERNS = (
    ("mirror_down", r"mirrors\.example\.com.*(refused|unreachable)"),
    ("disk_full", r"(?i)no space left on device|disk quota exceeded"),
    ("out_of_memory", r"(?i)out of memory|oom-kill"),
    ("timeout", r"(?i)timed? ?out|deadline exceeded"),
    ("package_lock", r"(?i)could not get lock"),
    ("command_not_found", r"command not found"),
)

LOGS = {
    "disk_full": "Reading package lists...\nBuilding dependency tree...\nThe following packages will be upgraded:\n"
    "  libssl3 openssl\n2 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
    "E: You don't have enough free space in /var/cache/apt/archives/.\n"
    "write error: /var/log/patch.log: No space left on device\nexit status 1\n",
    "out_of_memory": "[INFO] begins\n[311.220417] Out of memory: Killed process 4127 (patch)\nexit status 137\n",
    "package_lock": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 912 (unattended-upgr)\n"
    "\x1b[31mE: Unable to acquire the dpkg frontend lock, is another process using it?\x1b[0m\nexit status 100\n",
    "mirror_down": "curl: (7) Failed to connect to mirrors.example.com port 443: Network is unreachable\n",
    "other": "[ERROR] check 4127 failed\nscript exited: 3\n",
}

HOSTILE_LOG = (
    "</pre></details><script>document.title='owned'</script><img src=x onerror=alert(1)>\n"
    "\x1b[31mred\x1b[0m \x07bell \x00nul \ufffdhalf \u202eevil\u202c \x9b1mC1 & &lt; \" '\n"
    "progress 10%\rprogress 99%\r\n"
)


def desk(snapshot: Snapshot, *, show_logs: bool = True, external_url: str = "", now: float = NOW) -> Desk:
    """Return a desk that shows one snapshot for ever."""
    return Desk(
        current=lambda: snapshot,
        now=lambda: now,
        interval=INTERVAL,
        console_urls={"prod": "https://console.example.com/coc/?region=cn-north-4#/ticket/{execute_uuid}"},
        show_logs=show_logs,
        external_url=external_url,
        patterns=PATTERNS,
        reload_note=lambda: "2 tickets added to account prod; poll.interval 60s became 30s.",
        version="0.1.0",
    )


def host(number: int, throw: Random) -> Host:
    """Return a host of the fleet."""
    return Host(
        resource_id=f"66006c8e-dc6b-45bb-a65b-{throw.getrandbits(48):012x}",
        host_name=f"{('web', 'db', 'cache', 'batch', 'edge')[number % 5]}-{number:04d}",
        fixed_ip=f"10.0.{number // 250}.{number % 250 + 1}",
        region_id="cn-north-4",
        zone_id=f"cn-north-4{'abc'[number % 3]}",
        application="shop",
        group=f"group-{number % 7}",
    )


def ticket(number: int, status: str, *, failed: int = 0, batches: int = 4, size: int = 10) -> Ticket:
    """Return a ticket with ``failed`` ABNORMAL instances, half done if it is PROCESSING."""
    throw = Random(number)  # noqa: S311  figures to look at
    created = NOW - 900 - 37 * (number % 50)
    done = batches if status in ("FINISHED", "ABNORMAL") else batches // 2
    made = tuple(_batch(index, size, done, created, failed, throw) for index in range(1, batches + 1))
    ended = max((one.finished or 0.0 for batch in made for one in batch.instances), default=0.0)
    past = (Failure(7, created, 1, "package_lock", "db-0001", 3.0),) if failed else ()
    return Ticket(
        execute_uuid=uuid(number),
        status=status,
        created=created,
        finished=ended if status == "FINISHED" else None,
        creator="ops-bot",
        script_name="patch-openssl",
        timeout=120.0,
        success_rate=0.95,
        current_batch=min(batches, done + 1),
        batches=made,
        statistics=_statistics(made),
        past_failures=past,
    )


def _statistics(batches: tuple[Batch, ...]) -> Statistics:
    counts = Counter(one.status for batch in batches for one in batch.instances)
    rows = tuple(StatusCount(status, count, frozenset()) for status, count in counts.items())
    return Statistics(counts.total(), rows)


def _batch(index: int, size: int, done: int, created: float, failed: int, throw: Random) -> Batch:
    begun = created + 10 + 110 * (index - 1)
    return Batch.of(index, size, tuple(_instance(index, n, done, begun, failed, throw) for n in range(size)))


def _instance(index: int, n: int, done: int, begun: float, failed: int, throw: Random) -> Instance:
    own = 40_304_000 + 100 * index + n
    server = host(5 * index + n if n < failed else throw.randrange(900), throw)
    if index > done + 1:
        return Instance(own, "READY", host=server)
    seconds = round(min(118.0, throw.lognormvariate(3.3, 0.6)), 3)
    if index == done + 1:
        return Instance(own, "PROCESSING", NOW - seconds, host=server)
    if index == 1 and n < failed:
        reason = ("disk_full", "package_lock", "out_of_memory", "mirror_down", "other")[n % 5]
        return Instance(own, "ABNORMAL", begun, begun + seconds, seconds, server, reason, LOGS[reason])
    status = "CANCELED" if throw.random() < 0.03 else "FINISHED"
    return Instance(own, status, begun, begun + seconds, seconds, server)


def uuid(number: int) -> str:
    """Return the execute_uuid of ticket ``number``."""
    return f"SCT20260102110405{number:09x}"


def reading(number: int, known: Ticket | None, *, account: str = "prod", name: str = "", **more: Any) -> Reading:
    """Return a ticket as the poller holds it; read just now unless said otherwise."""
    watch = Watch(account, uuid(number), name, {"team": "web"} if number == 1 else {})
    held = Reading(watch, known, last_success=NOW - 12, tried=NOW - 12)
    return Reading(**{**held.__dict__, **more})


def account(name: str = "prod", fault: Fault | None = None, polled: float | None = NOW - 12) -> AccountState:
    """Return an account, polled twelve seconds ago."""
    return AccountState(name, fault, polled)


def starting() -> Snapshot:
    """Nothing has been read yet."""
    readings = tuple(Reading(Watch("prod", uuid(n), f"nightly-{n}")) for n in range(1, 4))
    return Snapshot((account(polled=None),), readings, None)


def empty() -> Snapshot:
    """A poll ended and found no ticket."""
    return Snapshot((account(),), (), NOW - 12)


def quiet() -> Snapshot:
    """All is well."""
    return Snapshot((account(),), (reading(1, ticket(1, "FINISHED"), name="nightly-openssl"),), NOW - 12)


def busy() -> Snapshot:
    """An ordinary bad night: failures, work under way, one ticket and one account that cannot be read."""
    gone = Fault("timeout", "No answer from https://coc.example.com within 10 s, three times.", NOW - 190)
    locked = Fault(
        "paused", "The access key is locked after repeated failures; the next attempt is at 03:19.", NOW - 90
    )
    readings = (
        reading(1, ticket(1, "ABNORMAL", failed=4), name="nightly-openssl"),
        reading(2, ticket(2, "PROCESSING", failed=2, batches=6), name="rotate-logs"),
        reading(3, ticket(3, "PROCESSING", batches=3), name="kernel-params"),
        reading(4, ticket(4, "FINISHED"), name="collect-inventory"),
        reading(5, ticket(5, "PAUSED", failed=1), name="restart-agents", account="staging", fault=gone),
        reading(6, None, name="rebuild-cache", fault=gone, last_success=None),
        reading(7, ticket(7, "FINISHED", batches=2), account="staging", name="certificates"),
        reading(8, ticket(8, "FINISHED", size=3, batches=1), name="clean-tmp"),
    )
    return Snapshot((account(), account("staging", locked)), readings, NOW - 12)


def stale() -> Snapshot:
    """Polls have stopped, and one ticket is too old to be shown."""
    gone = Fault("server_error", "HTTP 503 from https://coc.example.com, three times.", NOW - 700)
    old = reading(2, ticket(2, "PROCESSING"), name="rotate-logs", stale=True, fault=gone, last_success=NOW - 900)
    first = reading(1, ticket(1, "PROCESSING", failed=2), name="nightly-openssl", last_success=NOW - 640)
    return Snapshot((account(polled=NOW - 640),), (first, old), NOW - 640)


def failing() -> Snapshot:
    """The account refuses our credentials and nothing was ever read."""
    fault = Fault("token_rejected", "The token was rejected: it is expired, revoked or of another region.", NOW - 4000)
    readings = tuple(reading(n, None, fault=fault, name=f"nightly-{n}", last_success=None) for n in range(1, 4))
    return Snapshot((account(fault=fault),), readings, NOW - 12)


@cache
def thousands(count: int = 2000) -> Snapshot:
    """Many tickets."""
    statuses = ("FINISHED", "PROCESSING", "FINISHED", "ABNORMAL")
    readings = tuple(
        reading(n, ticket(n, statuses[n % 4], failed=n % 3 if n % 4 == 3 else 0), name=f"job-{n:04d}")
        for n in range(1, count + 1)
    )
    return Snapshot((account(),), readings, NOW - 12)


@cache
def foreign() -> Snapshot:
    """Names from right to left, in Chinese, very long, and hostile."""
    names = (
        "تحديث-الخوادم (3)",
        "夜间补丁-数据库集群",
        "<script>alert('name')</script>",
        "x" * 300,
        "a\u202egnp.exe\nb",
    )
    hosts = ("خادم-قاعدة-البيانات", "数据库-北京-01", "<img src=x onerror=alert(1)>", "h" * 300, "db\x1b[31m-\ufffd1")
    made = (_foreign(n, name, server) for n, (name, server) in enumerate(zip(names, hosts, strict=True), start=1))
    return Snapshot((account("产品/٣"),), tuple(made), NOW - 12)


def _foreign(number: int, name: str, server: str) -> Reading:
    log = HOSTILE_LOG + "عند الفشل: لا توجد مساحة\n磁盘空间不足\n"
    bad = Instance(1, "ABNORMAL", NOW - 60, NOW - 30, 30.0, Host("r-1", server), "disk_full", log)
    twin = Instance(1, "ABNORMAL", NOW - 60, NOW - 30, 30.0, Host("r-2", server), "other", "y" * 1_000_000)
    known = Ticket(
        uuid(number),
        "ABNORMAL",
        NOW - 100,
        creator="<b>ops</b>",
        script_name=name,
        statistics=Statistics(2, (StatusCount("ABNORMAL", 2, frozenset({1})),)),
        batches=(Batch.of(1, 2, (bad, twin)),),
    )
    return reading(number, known, account="产品/٣", name=name)


WORLDS: dict[str, Callable[[], Snapshot]] = {
    "starting": starting,
    "empty": empty,
    "quiet": quiet,
    "busy": busy,
    "stale": stale,
    "failing": failing,
    "foreign": foreign,
    "thousands": thousands,
}
