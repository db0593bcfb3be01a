"""
Three ways to read the pages of tickets, each whole: ours, a script with the official SDK, and the bare minimum.

Each reads every page of a batch of every ticket it is given, the same pages in the same number of requests.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.sides import Figures, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ORDERS = "/v1/job/script/orders"
_BATCHES = 20
_LIMIT = 50

Job = tuple[str, int]
"""A ticket and one of its batches."""


def _jobs(uuids: list[str], number: int) -> Iterator[list[Job]]:
    """Yield so many batches at a time, for ever."""
    endless = itertools.cycle((uuid, index) for uuid in uuids for index in range(1, _BATCHES + 1))
    while True:
        yield list(itertools.islice(endless, number))


def _told(pages: int, work: Callable[[], None]) -> Figures:
    figures: Figures = {}
    with measured(figures):
        work()
    return {"cpu_ms": figures["cpu"] * 1000 / pages, "wall_ms": figures["wall"] * 1000 / pages}


def bare(url: str, uuids: list[str], pages: int, concurrency: int) -> Iterator[Figures]:
    """Read by http.client and json, and only count statuses."""
    at = urlsplit(url)
    headers = {"X-Auth-Token": "demo-token", "Accept": "application/json"}

    def read(jobs: list[Job]) -> Counter[str]:
        counts: Counter[str] = Counter()
        connection = http.client.HTTPConnection(at.hostname, at.port)
        for uuid, index in jobs:
            held, marker = 0, ""
            while True:
                connection.request("GET", f"{_ORDERS}/{uuid}/batches/{index}?limit={_LIMIT}{marker}", headers=headers)
                data = json.loads(connection.getresponse().read())["data"]
                found = data["execute_instances"]
                counts.update(instance["status"] for instance in found)
                held += len(found)
                if not found or held >= data["total_instances"]:
                    break
                marker = f"&marker={found[-1]['id']}"
        connection.close()
        return counts

    yield from _in_threads(read, uuids, pages, concurrency)


def sdk(url: str, uuids: list[str], pages: int, concurrency: int) -> Iterator[Figures]:
    """Read as a script does that is written from the official SDK's documentation, and set gauges."""
    from huaweicloudsdkcoc import v1 as coc  # noqa: PLC0415  this side alone needs it
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415  likewise
    from huaweicloudsdkcore.http.http_config import HttpConfig  # noqa: PLC0415  likewise
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415  likewise

    from exporter.simulator import Credentials  # noqa: PLC0415  likewise

    known = Credentials()
    registry = CollectorRegistry()
    by_status = Gauge("script_instances", "Instances.", ["ticket", "batch", "status"], registry=registry)
    duration = Gauge("script_duration_seconds_sum", "Time spent.", ["ticket", "batch"], registry=registry)
    total = Gauge("script_batch_instances", "Instances stated.", ["ticket", "batch"], registry=registry)
    client = (
        coc.CocClient.new_builder()
        .with_http_config(HttpConfig(ignore_ssl_verification=True, pool_connections=concurrency))
        .with_credentials(BasicCredentials(known.access_key, known.secret_key, known.project_id))
        .with_endpoint(url)
        .build()
    )

    def read(jobs: list[Job]) -> None:
        for uuid, index in jobs:
            counts: Counter[str] = Counter()
            spent, marker, held = 0.0, 0, 0
            while True:
                request = coc.GetScriptJobBatchRequest(
                    execute_uuid=uuid, batch_index=index, limit=_LIMIT, marker=marker
                )
                data = client.get_script_job_batch(request).data
                found = data.execute_instances
                for instance in found:
                    counts[instance.status] += 1
                    spent += (instance.execute_costs or 0) / 1000
                held += len(found)
                if not found or held >= data.total_instances:
                    break
                marker = found[-1].id
            for status, count in counts.items():
                by_status.labels(uuid, str(index), status).set(count)
            duration.labels(uuid, str(index)).set(spent)
            total.labels(uuid, str(index)).set(data.total_instances)

    yield from _in_threads(read, uuids, pages, concurrency)


def _in_threads(read: Callable[[list[Job]], Any], uuids: list[str], pages: int, concurrency: int) -> Iterator[Figures]:
    with ThreadPoolExecutor(concurrency) as pool:

        def work(jobs: list[Job]) -> None:
            for _ in pool.map(read, [jobs[start::concurrency] for start in range(concurrency)]):
                pass

        turns = _jobs(uuids, pages)
        work(next(turns))
        yield {}
        for jobs in turns:
            yield _told(pages, lambda jobs=jobs: work(jobs))


def ours(url: str, uuids: list[str], pages: int, concurrency: int) -> Iterator[Figures]:
    """Read by our client, make a snapshot and the families of it."""
    from exporter import families  # noqa: PLC0415  this side alone needs it
    from exporter.snapshot import Reading, Snapshot, Ticket, Watch  # noqa: PLC0415  likewise

    options = families.Options()

    async def read(api: Any, jobs: list[Job]) -> None:
        queue = iter(jobs)
        held: dict[str, list[Any]] = {}

        async def worker() -> None:
            for uuid, index in queue:
                held.setdefault(uuid, []).append(await api.batch(uuid, index))

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
        readings = tuple(
            Reading(Watch("bench", uuid), Ticket(uuid, "PROCESSING", batches=tuple(batches)), last_success=0.0)
            for uuid, batches in held.items()
        )
        snapshot = Snapshot(readings=readings)
        for family in families.OF_TICKETS:
            family(snapshot, options)

    with asyncio.Runner() as runner, _connected(runner, url, concurrency) as api:
        turns = _jobs(uuids, pages)
        runner.run(read(api, next(turns)))
        yield {}
        for jobs in turns:
            yield _told(pages, lambda jobs=jobs: runner.run(read(api, jobs)))


def by_httpx(url: str, uuids: list[str], pages: int, concurrency: int) -> Iterator[Figures]:
    """Read by our client over the transport that httpx brings."""
    import httpx  # noqa: PLC0415  this side alone needs it

    import exporter.api  # noqa: PLC0415  likewise

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    # The package's function of the same name hides the module.
    sys.modules[f"{exporter.api.__name__}.connect"]._transport = lambda *_account, **_way: httpx.AsyncHTTPTransport(
        limits=limits, trust_env=False
    )
    yield from ours(url, uuids, pages, concurrency)


@contextmanager
def _connected(runner: asyncio.Runner, url: str, concurrency: int) -> Iterator[Any]:
    """Yield the Api of an exporter, wired as in production."""
    exporter = runner.run(_made(unhurried(url, concurrency=concurrency)))
    try:
        yield exporter.poller.accounts[0].api
    finally:
        runner.run(exporter.aclose())


async def _made(config: Any) -> Any:
    from exporter.cli.wiring import Exporter  # noqa: PLC0415  a side that needs it calls this
    from exporter.clock import SystemClock  # noqa: PLC0415  likewise
    from exporter.telemetry import Telemetry  # noqa: PLC0415  likewise

    return Exporter(config, Telemetry(process=False), SystemClock())


_CONFIG = """
accounts:
  - name: bench
    endpoint: {url}
    iam_endpoint: {url}
    auth: {{token: {{token: demo-token}}}}
    tickets: [{tickets}]
poll: {{interval: 1h, request_timeout: 60s, concurrency: {concurrency}, stale_after: 1d, keep_finished: 300d}}
"""


def unhurried(url: str, uuids: tuple[str, ...] = ("SCT1",), concurrency: int = 8) -> Any:
    """Return a config whose request limit does not bind: what is measured is the work, not the waiting."""
    from exporter import config  # noqa: PLC0415  a side that needs it calls this

    tickets = ", ".join(f"{{execute_uuid: {uuid}}}" for uuid in uuids)
    loaded = config.parse(_CONFIG.format(url=url, tickets=tickets, concurrency=concurrency), name="bench", environ={})
    unbound = loaded.poll.model_copy(update={"requests_per_second": 1e6})
    return loaded.model_copy(update={"poll": unbound})
