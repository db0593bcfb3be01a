"""
From a snapshot to metric families: one pure function for each family.

Every function takes a Snapshot and the Options and returns its family with all samples. Those of ``OF_TICKETS`` speak
of each ticket on its own, from its ``shown`` and ``watch`` alone, so that what they say of an unchanged ticket need not
be said again; those of ``OF_ALL`` look across tickets, or tell how the last reading went. Values are cached by polling:
no call is made for a scrape.
"""

from exporter.families.account import discovery_omitted, listed, tickets, up
from exporter.families.family import Family
from exporter.families.instance import (
    abnormal_instance_info,
    abnormal_instances_omitted,
    batch_instances,
    instance_execution_duration,
    instance_failures,
    instances,
)
from exporter.families.options import Options
from exporter.families.ticket import (
    count_disagreement,
    created,
    current_batch,
    finished,
    info,
    last_success,
    oldest_processing,
    status,
    success_rate_threshold,
    ticket_up,
    timeout,
)

OF_TICKETS = (
    instances,
    batch_instances,
    instance_failures,
    instance_execution_duration,
    abnormal_instance_info,
    abnormal_instances_omitted,
    info,
    status,
    created,
    finished,
    timeout,
    success_rate_threshold,
    current_batch,
    oldest_processing,
    count_disagreement,
)

OF_ALL = (ticket_up, last_success, up, tickets, discovery_omitted, listed)

__all__ = ["OF_ALL", "OF_TICKETS", "Family", "Options"]
