"""One account's poll: find the tickets, visit those that are due, and turn every failure into data."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exporter.errors import ApiError, DeadlinePassed, Empty
from exporter.poller import schedule
from exporter.poller.visit import visit
from exporter.snapshot import AccountState, Fault, Reading
from exporter.sources import Found, find, fixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """How an account is polled; times in seconds, ``deadline`` bounds one poll."""

    cadence: Cadence
    deadline: float
    concurrency: int
    keep_finished: float


class AccountPoller:
    """Hold what is known of one account's tickets, and renew it poll by poll."""

    def __init__(
        self, account: Account, api: Api, pace: Pace, *, journal: Journal, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.account = account
        self.api = api
        self.state = AccountState(account.name)
        self.readings: dict[str, Reading] = {watch.execute_uuid: Reading(watch) for watch in fixed(account)}
        self._pace = pace
        self._journal = journal
        self._telemetry = telemetry
        self._clock = clock
        self._in_flight: set[str] = set()

    def inherit(self, known: AccountPoller) -> None:
        """Take over what another poller knows of the tickets that this one watches too."""
        self.state = known.state
        kept = {
            uuid: replace(reading, watch=self.readings[uuid].watch)
            for uuid, reading in known.readings.items()
            if uuid in self.readings
        }
        self.readings |= kept
        if self.account.discovery is not None:
            self.readings |= {
                uuid: reading
                for uuid, reading in known.readings.items()
                if not reading.watch.listed and uuid not in kept
            }

    async def poll(self) -> None:
        """Read every ticket that is due, once, within the deadline; raise nothing but cancellation."""
        accepted_before = self.api.accepted
        self.api.last_error = None
        listing = await self._find()
        due = schedule.due(self.readings.values(), self._clock.time(), self._pace.cadence)
        await self._visit_all(due)
        self._forget_old()
        answered = self.api.accepted > accepted_before
        self._conclude(listing or (None if answered else self._last_fault()))

    async def _find(self) -> Fault | None:
        """Renew the watched tickets; return why the listing failed, if the failure is the account's."""
        try:
            found = await find(self.account, self.api, self._clock.time())
            self._refuse_empty(found)
        except ApiError as error:
            return self._fault(error, self.state.fault)
        except Exception as error:  # noqa: BLE001  the loop must outlive any bug in reading one listing
            return self._internal(error, self.state.fault)
        self._adopt(found)
        return None

    def _refuse_empty(self, found: Found) -> None:
        if found.listed == 0 and not self.readings:
            raise Empty(
                f"Account {self.account.name} signs in but lists no ticket at all. The wrong site answers like this:"
                " check region or endpoint, and project_id."
            )

    def _adopt(self, found: Found) -> None:
        if found.omitted and found.omitted != self.state.omitted_tickets:
            _logger.warning(
                "More tickets than discovery.max_tickets; the oldest are left out",
                extra={"account": self.account.name, "omitted": found.omitted},
            )
        self.state = replace(self.state, omitted_tickets=found.omitted)
        self.readings = dict(self._merged(found.watches))

    def _merged(self, watches: Iterable[Watch]) -> Iterator[tuple[str, Reading]]:
        """Yield the readings to hold: each watched ticket, and discovered ones that no filter finds any more."""
        found = {watch.execute_uuid: watch for watch in watches}
        for uuid, watch in found.items():
            held = self.readings.get(uuid)
            yield uuid, Reading(watch) if held is None else replace(held, watch=watch)
        for uuid, reading in self.readings.items():
            if uuid not in found and not reading.watch.listed and reading.shown is not None:
                yield uuid, reading

    async def _visit_all(self, due: list[Reading]) -> None:
        queue = iter(due)
        try:
            async with asyncio.timeout(self._pace.deadline), asyncio.TaskGroup() as group:
                for _ in range(min(self._pace.concurrency, len(due))):
                    group.create_task(self._work(queue))
        except TimeoutError:
            error = DeadlinePassed(
                "The poll's time was over before this ticket was read; the next poll begins with it."
            )
            for uuid in self._in_flight:
                self.readings[uuid] = self._failed(self.readings[uuid], self._fault(error, self.readings[uuid].fault))
        finally:
            self._in_flight.clear()

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
        _logger.error("A fault of the exporter itself", extra={"err": repr(error)}, exc_info=error)
        return self._since(INTERNAL, "A fault of the exporter itself; its log tells more.", before)

    def _since(self, reason: str, message: str, before: Fault | None) -> Fault:
        since = before.since if before is not None and before.reason == reason else self._clock.time()
        return Fault(reason, message, since)

    def _last_fault(self) -> Fault | None:
        """Return the account's fault when nothing was accepted: the last error, or as before when nothing was asked."""
        error = self.api.last_error
        if error is None:
            return self.state.fault
        return self._since(error.reason, str(error), self.state.fault)

    def _forget_old(self) -> None:
        now = self._clock.time()
        for uuid, reading in list(self.readings.items()):
            if schedule.is_stale(reading, now, self._pace.cadence.stale_after):
                self.readings[uuid] = replace(reading, stale=True, refreshed=None)
            if self._expired(reading, now):
                del self.readings[uuid]

    def _expired(self, reading: Reading, now: float) -> bool:
        """Tell whether a discovered ticket ended long enough ago to be shown no more."""
        if reading.watch.listed or reading.ticket is None or not reading.settled:
            return False
        ended = reading.ticket.finished or reading.last_success or now
        return now - ended > self._pace.keep_finished

    def _conclude(self, fault: Fault | None) -> None:
        if fault is None:
            self._journal.recovered(account=self.account.name)
        else:
            self._journal.failed(fault, account=self.account.name)
        self.state = replace(self.state, fault=fault, polled=self._clock.time())
