"""
The shapes of the API's answers, as its pages document them and as answers were seen.

Fields stand here only to be told from undocumented ones; what we never read is left undecoded (``Raw``), script
parameters above all: they may hold secrets.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Raw, Struct

_INT64 = 2**63 - 1
_END_OF_9999 = 253_402_300_799_999

Id = Annotated[int, Meta(ge=0, le=_INT64)]
Milliseconds = Annotated[int, Meta(ge=0, le=_END_OF_9999)]
ExecuteUuid = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,26}\Z")]
Costs = Annotated[int, Meta(ge=-_INT64, le=_INT64)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Number = Annotated[float, Meta(ge=0, le=1e12)]


class Wire(Struct, forbid_unknown_fields=True, gc=False):
    """
    A documented object; an undocumented field sends the answer to the patient decoder.

    Of a list of ``spared`` objects those that cannot be used are left out; any other list is read whole or not at all.
    """

    spared: ClassVar[bool] = True


class TargetProperties(Wire):
    """Deprecated by the API's pages, and yet the only place of the host's name."""

    host_name: str | None = None
    fixed_ip: str | None = None
    floating_ip: Raw = Raw(b"null")
    region_id: str | None = None
    zone_id: str | None = None
    application: str | None = None
    group: str | None = None
    project_id: Raw = Raw(b"null")


class Target(Wire):
    """The host of an instance."""

    resource_id: str | None = None
    provider: Raw = Raw(b"null")
    type: Raw = Raw(b"null")
    region_id: str | None = None
    project_id: Raw = Raw(b"null")
    custom_attributes: Raw = Raw(b"null")
    agent_sn: Raw = Raw(b"null")
    agent_status: Raw = Raw(b"null")
    agent_version: Raw = Raw(b"null")
    properties: TargetProperties | None = None


class ExecuteInstance(Wire):
    """An instance; times and, despite its page, ``execute_costs`` are milliseconds."""

    id: Id
    status: str
    gmt_created: Milliseconds | None = None
    gmt_finished: Milliseconds | None = None
    execute_costs: Costs | None = None
    message: Raw = Raw(b"null")
    target_instance: Target | None = None
    cmd_uuid: Raw = Raw(b"null")
    job_sign: Raw = Raw(b"null")


class BatchPage(Wire):
    """A page of a batch; ``total_instances`` counts the whole batch."""

    total_instances: Count
    batch_index: Raw = Raw(b"null")
    execute_instances: list[ExecuteInstance] | None = None


class BatchRow(Wire):
    """A batch as the list of batches states it; without it a batch would go missing in silence."""

    spared: ClassVar[bool] = False

    batch_index: Count
    total_instances: Raw = Raw(b"null")
    rotation_strategy: Raw = Raw(b"null")
    properties: Raw = Raw(b"null")


class StatisticsRow(Wire):
    """The instances in one status."""

    instance_status: str
    instance_count: Count
    batch_indexes: list[Count] | None = None


class StatisticsData(Wire):
    """The counts of a ticket; the total is spelled in the singular here alone."""

    execute_statistics: list[StatisticsRow]
    total_instance: Count | None = None


class ExecuteParam(Wire):
    """How the script is run; ``timeout`` is in seconds."""

    timeout: Number | None = None
    success_rate: Number | None = None
    execute_user: Raw = Raw(b"null")
    resourceful: Raw = Raw(b"null")
    script_params: Raw = Raw(b"null")


class TicketProperties(Wire):
    """What the ticket runs; ``script_name`` was an integer in old definitions."""

    script_uuid: Raw = Raw(b"null")
    script_name: str | int | None = None
    script_version_uuid: Raw = Raw(b"null")
    script_version_name: Raw = Raw(b"null")
    current_execute_batch_index: Count | None = None
    execute_param: ExecuteParam | None = None
    script_source: Raw = Raw(b"null")


class TicketData(Wire):
    """A ticket's own facts."""

    execute_uuid: str
    status: str
    gmt_created: Milliseconds | None = None
    gmt_finished: Milliseconds | None = None
    execute_costs: Raw = Raw(b"null")
    creator: str | None = None
    properties: TicketProperties | None = None


class Order(Wire):
    """A ticket as the listing tells it."""

    order_id: Id
    execute_uuid: ExecuteUuid
    status: str
    order_name: str | None = None
    gmt_created: Milliseconds | None = None
    gmt_finished: Milliseconds | None = None
    execute_costs: Raw = Raw(b"null")
    creator: str | None = None
    properties: Raw = Raw(b"null")


class OrderPage(Wire):
    """A page of the listing."""

    total: Count | None = None
    data: list[Order] | None = None


class _Answer(Wire):
    """The envelope; other parts of COC put these fields beside ``data``."""

    error_code: Raw = Raw(b"null")
    error_msg: Raw = Raw(b"null")
    provider_code: Raw = Raw(b"null")
    request_id: Raw = Raw(b"null")


class BatchPageAnswer(_Answer, kw_only=True):
    """GET /v1/job/script/orders/{execute_uuid}/batches/{batch_index}."""

    data: BatchPage


class BatchesAnswer(_Answer, kw_only=True):
    """GET /v1/job/script/orders/{execute_uuid}/batches."""

    data: list[BatchRow]


class StatisticsAnswer(_Answer, kw_only=True):
    """GET /v1/job/script/orders/{execute_uuid}/statistics."""

    data: StatisticsData


class TicketAnswer(_Answer, kw_only=True):
    """GET /v1/job/script/orders/{execute_uuid}."""

    data: TicketData


class OrdersAnswer(_Answer, kw_only=True):
    """GET /v1/job/script/orders."""

    data: OrderPage
