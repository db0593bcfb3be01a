"""Families that look across tickets: accounts, and how many tickets are in which state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from exporter.families.family import GaugeFamily

if TYPE_CHECKING:
    from exporter.families.options import Options
    from exporter.snapshot import Snapshot

_STATES = ("active", "finished", "failed")


def up(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Tell whether the account's API answered and accepted our credentials.

        coc_up{account="prod"} 1.0
    """
    family = GaugeFamily(
        "coc_up",
        "1 when the account's API answered and accepted our credentials in the last poll.",
        labels=["account"],
    )
    for account in snapshot.accounts:
        if account.polled is not None:
            family.add_metric([account.name], account.accepted)
    return family


def tickets(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Count the watched tickets in each state.

        coc_exporter_tickets{account="prod",state="active"} 3.0
    """
    family = GaugeFamily(
        "coc_exporter_tickets",
        "Tickets that are watched, by what polling them amounts to.",
        labels=["account", "state"],
    )
    counts = Counter((reading.watch.account, reading.state) for reading in snapshot.readings)
    for account in snapshot.accounts:
        for state in _STATES:
            family.add_metric([account.name, state], counts[account.name, state])
    return family


def listed(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Count the tickets that the listing told of, whatever discovery wants of them.

        coc_exporter_listed_tickets{account="prod"} 120.0
    """
    family = GaugeFamily(
        "coc_exporter_listed_tickets",
        "Tickets that the API listed in the last poll, as far as they were asked for; absent when the listing failed.",
        labels=["account"],
    )
    for account in snapshot.accounts:
        if account.listed is not None:
            family.add_metric([account.name], account.listed)
    return family


def discovery_omitted(snapshot: Snapshot, _options: Options) -> GaugeFamily:
    """
    Count the tickets that discovery found and left out.

        coc_exporter_discovery_omitted_tickets{account="prod"} 0.0
    """
    family = GaugeFamily(
        "coc_exporter_discovery_omitted_tickets",
        "Tickets that discovery found beyond max_tickets, the oldest ones.",
        labels=["account"],
    )
    for account in snapshot.accounts:
        family.add_metric([account.name], account.omitted_tickets)
    return family
