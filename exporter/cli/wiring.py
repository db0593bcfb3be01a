"""From a config to rooms that work together, and from one config to the next without losing what is known."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from exporter import families
from exporter.api import Interpreter, Statuses, connect
from exporter.exposition import Board, Renderer
from exporter.poller import AccountPoller, Cadence, Pace, Poller
from exporter.poller.journal import Journal
from exporter.reasons import Reasons, Rule
from exporter.sharding import Shard

if TYPE_CHECKING:
    from exporter.api import Api, OnAnswer
    from exporter.clock import Clock
    from exporter.config import Account, Config
    from exporter.snapshot import Snapshot
    from exporter.storage import Storage
    from exporter.telemetry import Telemetry

_logger = logging.getLogger(__name__)
_ALONE = Shard()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload did to the watched tickets."""

    added: int
    removed: int
    kept: int


class Exporter:
    """
    The rooms of one process; ``apply`` swaps in a new config whole, ``run`` polls until cancelled.

    ``storage`` keeps what is known between processes; ``shard`` says which tickets are ours; ``on_answer`` is shown
    every answer of the API.
    """

    def __init__(
        self,
        config: Config,
        telemetry: Telemetry,
        clock: Clock,
        *,
        storage: Storage | None = None,
        shard: Shard = _ALONE,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._telemetry = telemetry
        self._storage = storage
        self._shard = shard
        self._on_answer = on_answer
        self._retired: list[Api] = []
        self._stored = {} if storage is None else storage.readings()
        self._pauses = {} if storage is None else storage.pauses()
        telemetry.shard_ordinal.set(shard.ordinal)
        telemetry.total_shards.set(shard.total)
        self._statuses = Statuses()
        self._journal = Journal(clock)
        self._swapped = asyncio.Event()
        renderer = Renderer(families.OF_TICKETS, families.OF_ALL, telemetry)
        self._options = options(config)
        self.board = Board(renderer, self._options, clock)
        self.poller = self._load(config, {})

    @property
    def patterns(self) -> tuple[Rule, ...]:
        """The rules that name the reason of a failure, in the order in which they are tried."""
        return self._reasons.rules

    def ready(self) -> bool:
        """Tell whether every ticket was tried and polls go on."""
        return self.poller.ready()

    async def run(self) -> None:
        """Poll; begin anew with the present config whenever that was swapped."""
        # What was stored is shown before the first poll, and need not be stored again.
        await self.board.publish(self.poller.snapshot(), self._options)
        while True:
            self._swapped.clear()
            polling = asyncio.ensure_future(self.poller.run())
            swapped = asyncio.ensure_future(self._swapped.wait())
            try:
                await asyncio.wait((polling, swapped), return_when=asyncio.FIRST_COMPLETED)
                if polling.done():
                    await polling
            finally:
                await _cancelled(polling, swapped)
            while self._retired:
                await self._retired.pop().aclose()

    async def apply(self, config: Config) -> Changes:
        """Replace the config; tickets, counters and accounts that both know are kept."""
        before = {account.account.name: account for account in self.poller.accounts}
        poller = self._load(config, before)
        changes = _changes(self.poller.snapshot(), poller.snapshot())
        self.config, self.poller = config, poller
        self._swapped.set()
        kept = {account.api for account in poller.accounts}
        # They may be in use until the old poll has ended.
        self._retired += [account.api for account in before.values() if account.api not in kept]
        for name in before.keys() - {account.name for account in config.accounts}:
            self._telemetry.forget_account(name)
        return changes

    async def publish(self, snapshot: Snapshot) -> None:
        """Store a snapshot, then hand it out: a counter that was seen must not fall when we are killed in between."""
        if self._storage is not None:
            pauses = {account.account.name: account.api.auth.paused_until for account in self.poller.accounts}
            held = {name: until for name, until in pauses.items() if until is not None}
            await asyncio.to_thread(self._storage.save, snapshot, held)
        await self.board.publish(snapshot, self._options)

    async def aclose(self) -> None:
        """Close every connection, and the storage."""
        for api in [*self._retired, *(account.api for account in self.poller.accounts)]:
            await api.aclose()
        if self._storage is not None:
            self._storage.close()

    def _load(self, config: Config, before: dict[str, AccountPoller]) -> Poller:
        accounts = [self._account(account, config, before.get(account.name)) for account in config.accounts]
        self._reasons = Reasons(Rule(rule.reason, rule.pattern) for rule in config.failure_reasons)
        self._options = options(config)
        self._telemetry.config_reload_ok.set(1)
        self._telemetry.config_reloaded.set(self.clock.time())
        return Poller(
            accounts,
            self.publish,
            interval=config.poll.interval,
            deadline=_pace(config, self._shard).deadline,
            telemetry=self._telemetry,
            clock=self.clock,
        )

    def _account(self, account: Account, config: Config, known: AccountPoller | None) -> AccountPoller:
        # A connection that nothing changed is kept, with its sign-in, its limits and its pauses.
        same = known is not None and _connection(account, config) == _connection(known.account, self.config)
        api = known.api if known is not None and same else self._connect(account, config)
        poller = AccountPoller(
            account, api, _pace(config, self._shard), journal=self._journal, telemetry=self._telemetry, clock=self.clock
        )
        if known is not None:
            poller.state = known.state
            poller.inherit(known.readings)
        else:
            stored = {uuid: reading for (name, uuid), reading in self._stored.items() if name == account.name}
            poller.inherit(stored)
            if account.name in self._pauses:
                api.auth.restore_pause(self._pauses[account.name])
        return poller

    def _reason_of(self, text: str) -> str:
        # Not the method of today's patterns: a connection can outlive them.
        return self._reasons.of(text)

    def _connect(self, account: Account, config: Config) -> Api:
        # Shards share an account's rate, so that together they ask no more than one would.
        rate = config.poll.requests_per_second / self._shard.total
        return connect(
            account,
            config.poll.model_copy(update={"requests_per_second": rate}),
            Interpreter(self._statuses, self._telemetry, self._reason_of, keep_logs=config.web.show_logs),
            telemetry=self._telemetry,
            clock=self.clock,
            random=SystemRandom(),
            on_answer=self._on_answer,
        )


def _connection(account: Account, config: Config) -> tuple[object, ...]:
    """Return everything a connection is made of."""
    alone = account.model_copy(update={"tickets": (), "discovery": None})
    return alone, config.poll, config.web.show_logs


def _pace(config: Config, shard: Shard) -> Pace:
    poll = config.poll
    return Pace(
        cadence=Cadence(poll.interval, poll.stale_after, poll.full_refresh),
        deadline=poll.stale_after,
        concurrency=poll.concurrency,
        keep_finished=poll.keep_finished,
        owns=shard.owns,
    )


def options(config: Config) -> families.Options:
    """Return what the config decides about families."""
    labels = {label for account in config.accounts for ticket in account.tickets for label in ticket.labels}
    return families.Options(
        per_batch=config.metrics.per_batch,
        abnormal_instances=config.metrics.abnormal_instances,
        buckets=tuple(config.metrics.duration_buckets),
        ticket_labels=tuple(f"label_{label}" for label in sorted(labels)),
    )


def _changes(before: Snapshot, after: Snapshot) -> Changes:
    known = {(reading.watch.account, reading.watch.execute_uuid) for reading in before.readings}
    now = {(reading.watch.account, reading.watch.execute_uuid) for reading in after.readings}
    return Changes(added=len(now - known), removed=len(known - now), kept=len(known & now))


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
