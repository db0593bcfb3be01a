"""``check --live``: sign in, read one page of each ticket, and say what works and what is refused."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

from exporter.api import Interpreter, Statuses, connect
from exporter.cli.progress import bar
from exporter.cli.table import aligned
from exporter.clock import SystemClock
from exporter.errors import ApiError, Forbidden
from exporter.sources import fixed
from exporter.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.api import Api
    from exporter.config import Account, Config

_HEAD = ("ACCOUNT", "WHAT", "PERMISSION", "RESULT")
_LIST, _GET = "coc:job:list", "coc:job:get"


@dataclass(frozen=True, slots=True)
class _Trial:
    """One thing to try: what it is, the permission it needs, and how."""

    account: str
    what: str
    permission: str
    attempt: Callable[[], Awaitable[object]]


async def tried(config: Config) -> bool:
    """Try everything once, print a table, and return whether all of it worked."""
    rows: list[tuple[str, ...]] = []
    apis = [(account, _connected(account, config)) for account in config.accounts]
    trials = [trial for account, api in apis for trial in _trials(account, api)]
    async with bar("Trying", lambda: (len(rows), len(trials))):
        for trial in trials:
            rows.append((trial.account, trial.what, trial.permission, await _result(trial)))  # noqa: PERF401  the bar reads along
    await asyncio.gather(*(api.aclose() for _, api in apis))
    sys.stdout.write(aligned(_HEAD, rows))
    return all(row[-1] == "ok" for row in rows)


def _trials(account: Account, api: Api) -> list[_Trial]:
    trials = [_Trial(account.name, "list tickets", _LIST, partial(_first_listing, api))]
    for watch in fixed(account):
        uuid = watch.execute_uuid
        trials.append(_Trial(account.name, f"read {uuid}", _GET, partial(_one_page, api, uuid)))
    return trials


async def _first_listing(api: Api) -> None:
    async for _ in api.list_tickets({}):
        return


async def _one_page(api: Api, execute_uuid: str) -> None:
    await api.statistics(execute_uuid)
    indexes = await api.batches(execute_uuid)
    if indexes:
        await api.batch_page(execute_uuid, indexes[0], None)


async def _result(trial: _Trial) -> str:
    try:
        await trial.attempt()
    except Forbidden as error:
        return f"refused, {trial.permission} is missing: {error}"
    except ApiError as error:
        return str(error)
    return "ok"


def _connected(account: Account, config: Config) -> Api:
    telemetry = Telemetry(process=False)
    return connect(
        account,
        config.poll,
        Interpreter(Statuses(), telemetry, lambda _log: "", keep_logs=False),
        telemetry=telemetry,
        clock=SystemClock(),
        random=SystemRandom(),
    )
