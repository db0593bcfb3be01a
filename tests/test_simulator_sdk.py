"""The official SDK reads every endpoint of the simulator, signing for real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator import Credentials, Plan, build, running

coc = pytest.importorskip("huaweicloudsdkcoc.v1", reason="the official SDK is not installed")
core = pytest.importorskip("huaweicloudsdkcore.auth.credentials")
errors = pytest.importorskip("huaweicloudsdkcore.exceptions.exceptions")

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = Credentials()


def client(url: str, secret: str = KNOWN.secret_key) -> Any:
    credentials = core.BasicCredentials(KNOWN.access_key, secret, KNOWN.project_id)
    return coc.CocClient.new_builder().with_credentials(credentials).with_endpoint(url).build()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    # The SDK signs by the machine's clock, so the verifier's is the machine's too; the plan stands still by its speed.
    with running(build(Plan(tickets=23, batches=2, instances=120, exact=True, speed=0.01))) as url:
        yield url


@pytest.fixture
def sdk(url: str) -> Any:
    return client(url)


@pytest.fixture
def uuid(sdk: Any) -> str:
    found: str = sdk.list_script_jobs(coc.ListScriptJobsRequest(limit=1)).data.data[0].execute_uuid
    return found


def test_the_sdk_pages_through_the_listing(sdk: Any) -> None:
    found: list[int] = []
    request = coc.ListScriptJobsRequest(limit=10)
    while page := sdk.list_script_jobs(request).data.data:
        found += [row.order_id for row in page]
        request = coc.ListScriptJobsRequest(limit=10, marker=found[-1])
    assert len(found) == 23
    assert found == sorted(set(found), reverse=True)


def test_the_sdk_reads_a_tickets_basic_information(sdk: Any, uuid: str) -> None:
    data = sdk.get_script_job_info(coc.GetScriptJobInfoRequest(execute_uuid=uuid)).data
    assert data.execute_uuid == uuid
    assert data.properties.execute_param.timeout > 5


def test_the_sdk_reads_the_batches(sdk: Any, uuid: str) -> None:
    batches = sdk.list_script_job_batches(coc.ListScriptJobBatchesRequest(execute_uuid=uuid)).data
    assert [(batch.batch_index, batch.total_instances) for batch in batches] == [(1, 120), (2, 120)]


def test_the_sdk_reads_the_statistics(sdk: Any, uuid: str) -> None:
    data = sdk.get_script_job_statistics(coc.GetScriptJobStatisticsRequest(execute_uuid=uuid)).data
    assert data.total_instance == 240
    assert sum(row.instance_count for row in data.execute_statistics) == 240


def test_the_sdk_pages_through_a_batch(sdk: Any, uuid: str) -> None:
    found: list[int] = []
    asked: dict[str, Any] = {"execute_uuid": uuid, "batch_index": 1, "limit": 50}
    request = coc.GetScriptJobBatchRequest(**asked, marker=0)
    while page := sdk.get_script_job_batch(request).data.execute_instances:
        found += [row.id for row in page]
        request = coc.GetScriptJobBatchRequest(**asked, marker=found[-1])
    assert len(set(found)) == len(found) == 120


def test_the_sdk_is_refused_with_a_wrong_secret(url: str) -> None:
    with pytest.raises(errors.ClientRequestException) as refused:
        client(url, secret="wrong").list_script_jobs(coc.ListScriptJobsRequest())
    assert refused.value.error_code == "APIGW.0301"
    assert "verify aksk signature fail" in refused.value.error_msg


def test_the_sdk_is_told_that_a_ticket_is_missing(sdk: Any) -> None:
    with pytest.raises(errors.ClientRequestException) as refused:
        sdk.get_script_job_info(coc.GetScriptJobInfoRequest(execute_uuid="SCT404"))
    assert (refused.value.status_code, refused.value.error_code) == (400, "COC.00040709")
    assert len(refused.value.request_id) == 32
