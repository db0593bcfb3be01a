"""A ticket as we hold it between polls, its account, and all of them at one moment."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  storage reads the types at run time
from dataclasses import dataclass, field

from exporter.snapshot.ticket import Ticket  # noqa: TC001  likewise


@dataclass(frozen=True)
class Fault:
    """Why something could not be read: a closed reason, a sentence, and since when."""

    reason: str
    message: str
    since: float


@dataclass(frozen=True)
class Watch:
    """A ticket that is to be read; ``batches`` empty means all, ``listed`` that the config names it."""

    account: str
    execute_uuid: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    batches: frozenset[int] = frozenset()
    listed: bool = True


@dataclass(frozen=True)
class Reading:
    """
    A ticket as we hold it between polls.

    ``ticket`` is the last one read whole; ``fault`` says why the last attempt failed; ``stale`` that it has failed
    for too long to be shown; ``last_success``, ``refreshed`` and ``tried`` are when it was last read whole, last
    read with every batch, and last attempted.
    """

    watch: Watch
    ticket: Ticket | None = None
    fault: Fault | None = None
    last_success: float | None = None
    refreshed: float | None = None
    tried: float | None = None
    stale: bool = False

    @property
    def shown(self) -> Ticket | None:
        """The ticket to show: the last whole one, None when there is none or it is too old."""
        return None if self.stale else self.ticket

    @property
    def up(self) -> bool:
        """Whether the last attempt read the ticket whole."""
        return self.tried is not None and self.fault is None

    @property
    def name(self) -> str:
        """What a person calls this ticket."""
        script_name = self.ticket.script_name if self.ticket is not None else ""
        return self.watch.name or script_name or self.watch.execute_uuid

    @property
    def settled(self) -> bool:
        """Whether the ticket was read whole and nothing about it can change any more."""
        return self.fault is None and self.ticket is not None and self.ticket.settled

    @property
    def state(self) -> str:
        """``failed``, ``finished`` or ``active``."""
        if self.fault is not None:
            return "failed"
        return "finished" if self.settled else "active"


@dataclass(frozen=True)
class AccountState:
    """
    An account as the last poll found it.

    ``accepted`` tells whether its API answered and accepted our credentials; ``fault`` is why not, or why its listing
    tells too little. ``omitted_tickets`` is how many tickets discovery found beyond ``max_tickets``; ``listed`` is how
    many the listing told of, None where it was not asked or failed; ``polled`` is when the last poll ended, None before
    the first. ``proven`` tells that it showed a ticket once, as no wrong site does.
    """

    name: str
    fault: Fault | None = None
    polled: float | None = None
    omitted_tickets: int = 0
    listed: int | None = None
    accepted: bool = True
    proven: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything that is shown, at one moment; never changed once it is published."""

    accounts: tuple[AccountState, ...] = ()
    readings: tuple[Reading, ...] = ()
    taken: float | None = None
