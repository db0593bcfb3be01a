"""The plan before the start: what a config will ask of the API, told from the config alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.config import Account, Config, Poll

_LISTING_PAGE = 100
_MOST_BATCHES = 20
_FACTS = 3
_STEADY_MOST = 4


@dataclass(frozen=True, slots=True)
class Round:
    """The requests of one poll, at least and at most."""

    least: int
    most: int

    def seconds(self, rate: float) -> tuple[float, float]:
        """Return how long the round takes at ``rate`` requests a second."""
        return self.least / rate, self.most / rate


def first(account: Account) -> Round:
    """Return the round that reads everything: statistics, ticket, batches, and a page of each batch."""
    tickets = _most_tickets(account)
    pages = sum(len(ticket.batches) or _MOST_BATCHES for ticket in account.tickets)
    pages += (tickets - len(account.tickets)) * _MOST_BATCHES
    return Round(tickets * (_FACTS + 1) + _listing(account), tickets * _FACTS + pages + _listing(account))


def steady(account: Account) -> Round:
    """Return a later round: nothing for a ticket that ended, up to four requests for one that runs."""
    return Round(_listing(account), _most_tickets(account) * _STEADY_MOST + _listing(account))


def told(config: Config) -> Iterator[str]:
    """Yield the plan, a line each, for every account."""
    poll = config.poll
    for account in config.accounts:
        yield f"account {account.name}: at most {_most_tickets(account)} tickets, {account.auth.kind} sign-in"
        yield f"  first poll: {_range(first(account))}, {_time(first(account), poll)}"
        share = steady(account).most / (poll.interval * poll.requests_per_second)
        yield (
            f"  each later poll: {_range(steady(account))}, at most {share:.0%} of the allowed rate;"
            f" data at most {_age(account, poll):.0f} s old while every ticket runs"
        )


def warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each account whose rounds do not fit into ``stale_after``."""
    poll = config.poll
    for account in config.accounts:
        for name, asked in (("first", first(account)), ("each later", steady(account))):
            least, most = asked.seconds(poll.requests_per_second)
            if most <= poll.stale_after:
                continue
            verb = "cannot" if least > poll.stale_after else "may not"
            yield (
                f"account {account.name}: {name} poll {verb} fit into stale_after ({poll.stale_after:.0f} s):"
                f" {_range(asked)} at {poll.requests_per_second:g} a second."
                " Raise requests_per_second or stale_after, or watch fewer tickets."
            )


def _most_tickets(account: Account) -> int:
    return len(account.tickets) + (account.discovery.max_tickets if account.discovery is not None else 0)


def _listing(account: Account) -> int:
    return 0 if account.discovery is None else ceil(account.discovery.max_tickets / _LISTING_PAGE)


def _range(asked: Round) -> str:
    return f"{asked.least} to {asked.most} requests"


def _time(asked: Round, poll: Poll) -> str:
    least, most = asked.seconds(poll.requests_per_second)
    return f"{least:.0f} to {most:.0f} s"


def _age(account: Account, poll: Poll) -> float:
    return max(poll.interval, steady(account).most / poll.requests_per_second)
