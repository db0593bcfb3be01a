"""One account's poll: find the tickets, visit those that are due, and turn every failure into data."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exporter.errors import ApiError, DeadlinePassed, Empty, Incomplete
from exporter.poller import schedule, watchlist
from exporter.poller.visit import visit
from exporter.snapshot import AccountState, Fault, Reading
from exporter.sources import Found, find, fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exporter.api import Api
    from exporter.clock import Clock
    from exporter.config import Account
    from exporter.poller.journal import Journal
    from exporter.poller.schedule import Cadence
    from exporter.snapshot import Watch
    from exporter.telemetry import Telemetry

_logger = logging.getLogger(__name__)

INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Pace:
    """How an account is polled; times in seconds, ``deadline`` bounds one poll, ``owns`` tells our tickets."""

    cadence: Cadence
    deadline: float
    concurrency: int
    keep_finished: float
    owns: Callable[[str], bool] = lambda _execute_uuid: True


class AccountPoller:
    """Hold what is known of one account's tickets, and renew it poll by poll."""

    def __init__(
        self, account: Account, api: Api, pace: Pace, *, journal: Journal, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.account = account
        self.api = api
        self.state = AccountState(account.name)
        self._pace = pace
        self.readings = watchlist.adopted({}, self._ours(fixed(account)))
        self._journal = journal
        self._telemetry = telemetry
        self._clock = clock
        self._in_flight: set[str] = set()
        self._listed: int | None = None

    def inherit(self, known: Mapping[str, Reading]) -> None:
        """Take over what is known already of the tickets that are watched here, those of discovery included."""
        watches = {uuid: reading.watch for uuid, reading in self.readings.items()}
        if self.account.discovery is not None:
            found = (reading.watch for reading in known.values() if not reading.watch.listed)
            watches = {watch.execute_uuid: watch for watch in self._ours(found)} | watches
        self.readings = watchlist.adopted(known, watches.values())

    async def poll(self) -> None:
        """Read every ticket that is due, once, within the deadline; raise nothing but cancellation."""
        accepted_before = self.api.accepted
        self.api.last_error = None
        began = asyncio.get_running_loop().time()
        # A listing that hangs leaves half of the time to the tickets that are known.
        listing = await self._find(began + self._pace.deadline / 2)
        due = schedule.due(self.readings.values(), self._clock.time(), self._pace.cadence)
        await self._visit_all(due, began + self._pace.deadline)
        self._let_go()
        self._conclude(listing or self._emptiness(), accepted=self.api.accepted > accepted_before)

    def _ours(self, watches: Iterable[Watch]) -> Iterator[Watch]:
        return (watch for watch in watches if self._pace.owns(watch.execute_uuid))

    async def _find(self, until: float) -> Fault | None:
        """Renew the watched tickets; return why the listing tells too little, if it does."""
        self._listed = None
        try:
            async with asyncio.timeout_at(until):
                found = await self._found()
            self._adopt(found)
            self._refuse_gaps(found)
        except TimeoutError:
            error = DeadlinePassed("The listing of tickets took too long; those that are known are read.")
            return self._fault(error, self.state.fault)
        except ApiError as error:
            return self._fault(error, self.state.fault)
        except Exception as error:  # noqa: BLE001  the loop must outlive any bug in reading one listing
            return self._internal(error, self.state.fault)
        return None

    async def _found(self) -> Found:
        now = self._clock.time()
        keep = self._pace.keep_finished
        followed = watchlist.followed(self.readings, now, keep + self._pace.cadence.stale_after)
        return await find(self.account, self.api, now, keep_finished=keep, followed=followed)

    def _adopt(self, found: Found) -> None:
        if found.omitted and found.omitted != self.state.omitted_tickets:
            _logger.warning(
                "More tickets than discovery.max_tickets; the oldest are left out",
                extra={"account": self.account.name, "omitted": found.omitted},
            )
        self.state = replace(self.state, omitted_tickets=found.omitted)
        self._listed = found.listed
        self._hold(watchlist.adopted(self.readings, self._ours(found.watches)))

    def _refuse_gaps(self, found: Found) -> None:
        if found.listed is not None and found.stated is not None and found.listed < found.stated:
            raise Incomplete(
                f"The listing ended after {found.listed} of {found.stated} tickets; those that it told of are watched,"
                " the next poll tries again."
            )

    def _emptiness(self) -> Fault | None:
        """Return that the account shows nothing at all, as long as it never showed a ticket."""
        shown = bool(self._listed) or any(reading.ticket is not None for reading in self.readings.values())
        self.state = replace(self.state, proven=self.state.proven or shown)
        if self._listed != 0 or self.state.proven:
            return None
        error = Empty(
            f"Account {self.account.name} signs in but lists no ticket at all. The wrong site answers like this:"
            " check region or endpoint, project_id, and discovery.creator."
        )
        return self._fault(error, self.state.fault)

    async def _visit_all(self, due: list[Reading], until: float) -> None:
        queue = iter(due)
        # More at once than requests a second would only make each of them last longer.
        workers = min(self._pace.concurrency, len(due), max(1, int(self.api.gate.rate)))
        try:
            async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(queue))
        except TimeoutError:
            self._cut_off(due)
        finally:
            self._in_flight.clear()

    def _cut_off(self, due: list[Reading]) -> None:
        """Mark what was to be read and was not; tickets that were not even begun come first in the next poll."""
        error = DeadlinePassed("The poll's time was over before this ticket was read whole; the next poll tries again.")
        unread = [reading for reading in due if self.readings[reading.watch.execute_uuid] is reading]
        for reading in unread:
            uuid = reading.watch.execute_uuid
            tried = self._clock.time() if uuid in self._in_flight else reading.tried
            self.readings[uuid] = replace(reading, fault=self._fault(error, reading.fault), tried=tried)
        _logger.warning(
            "The poll's time was over before every ticket was read",
            extra={"account": self.account.name, "unread": len(unread)},
        )

    async def _work(self, queue: Iterator[Reading]) -> None:
        for reading in queue:
            uuid = reading.watch.execute_uuid
            self._in_flight.add(uuid)
            self.readings[uuid] = await self._visited(reading)
            self._in_flight.discard(uuid)

    async def _visited(self, reading: Reading) -> Reading:
        now = self._clock.time()
        full = schedule.needs_full(reading, now, self._pace.cadence)
        try:
            ticket = await visit(self.api, reading.watch, reading.ticket, full=full)
        except ApiError as error:
            return self._failed(reading, self._fault(error, reading.fault))
        except Exception as error:  # noqa: BLE001  one ticket's bug must not end the poll of the others
            return self._failed(reading, self._internal(error, reading.fault))
        self._journal.recovered(account=self.account.name, ticket=reading.watch.execute_uuid)
        if ticket is not reading.ticket:
            self._journal.told_failures(self.account.name, reading.ticket, ticket)
        done = self._clock.time()
        refreshed = done if full else reading.refreshed
        return Reading(reading.watch, ticket, None, last_success=done, refreshed=refreshed, tried=done)

    def _failed(self, reading: Reading, fault: Fault) -> Reading:
        self._journal.failed(fault, account=self.account.name, ticket=reading.watch.execute_uuid)
        return replace(reading, fault=fault, tried=self._clock.time())

    def _fault(self, error: ApiError, before: Fault | None) -> Fault:
        self._telemetry.poll_failures.labels(error.reason).inc()
        return self._since(error.reason, str(error), before)

    def _internal(self, error: Exception, before: Fault | None) -> Fault:
        self._telemetry.poll_failures.labels(INTERNAL).inc()
        # Its class alone: a library's message may quote what it was given, a secret included.
        _logger.error("A fault of the exporter itself", extra={"err": type(error).__name__}, exc_info=error)
        return self._since(INTERNAL, "A fault of the exporter itself; its log tells more.", before)

    def _since(self, reason: str, message: str, before: Fault | None) -> Fault:
        since = before.since if before is not None and before.reason == reason else self._clock.time()
        return Fault(reason, message, since)

    def _let_go(self) -> None:
        self._hold(watchlist.aged(self.readings, self._clock.time(), self._pace.cadence, self._pace.keep_finished))

    def _hold(self, readings: dict[str, Reading]) -> None:
        for uuid in self.readings.keys() - readings.keys():
            self._journal.forget(account=self.account.name, ticket=uuid)
        self.readings = readings

    def _conclude(self, listing: Fault | None, *, accepted: bool) -> None:
        error = self.api.last_error
        # When nothing was asked, nothing is known but what was.
        fault, works = listing or self.state.fault, self.state.accepted
        if accepted:
            fault, works = listing, True
        elif error is not None:
            fault, works = self._since(error.reason, str(error), self.state.fault), False
        if fault is None:
            self._journal.recovered(account=self.account.name)
        else:
            self._journal.failed(fault, account=self.account.name)
        self.state = replace(self.state, fault=fault, accepted=works, listed=self._listed, polled=self._clock.time())
