"""
The API of one account: a method for each endpoint, retries, and the listing of batches page by page.

Answers become the words of ``snapshot`` here; the API's own shapes stay inside this room.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from exporter import __version__
from exporter.api import paging, wire
from exporter.api.decode import decode
from exporter.api.verdict import disguised, judge
from exporter.errors import ApiError, BadRequest, Malformed, NotFound, Paused, RateLimited, ServerFailed
from exporter.snapshot import Batch, Instance, Statistics, Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from random import Random

    from exporter.api.gate import Gate
    from exporter.api.interpret import Interpreter, Listed
    from exporter.auth import AccountAuth
    from exporter.clock import Clock
    from exporter.telemetry import Telemetry

ORDERS = "/v1/job/script/orders"
_LIST_LIMIT = 100
_BATCH_LIMIT = 50
_BACKOFF_BASE = 0.5
_BACKOFF_CAP = 20.0
_LONGEST_WAIT = 20.0
_LONGEST_HOLD = 3600.0
_URLS = 2048
_NOTHING = httpx.ByteStream(b"")

Answer = TypeVar("Answer", bound=msgspec.Struct)
Parameters = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Limits:
    """``page`` is elements of a page of instances; ``attempts`` are those of one request, the first included."""

    page: int
    attempts: int


class Api:
    """
    Ask one account's API; every method raises an ApiError when it cannot tell the whole truth.

    ``http`` is a client whose base URL, sign-in and headers are set; ``others`` are those that the sign-in uses.
    ``accepted`` counts the answers of an API that accepted our credentials; ``last_error`` is the last failure since
    somebody set it to None.
    """

    def __init__(  # noqa: PLR0913  collaborators, handed in by keyword
        self,
        http: httpx.AsyncClient,
        gate: Gate,
        interpreter: Interpreter,
        auth: AccountAuth,
        *,
        limits: Limits,
        others: Sequence[httpx.AsyncClient] = (),
        telemetry: Telemetry,
        clock: Clock,
        random: Random,
    ) -> None:
        self.gate = gate
        self.auth = auth
        self.accepted = 0
        self.last_error: ApiError | None = None
        self._http = http
        self._headers = httpx.Headers([(b"Host", http.base_url.netloc), *http.headers.raw])
        # The same are asked for again with the next poll.
        self._url = lru_cache(maxsize=_URLS)(partial(_url, str(http.base_url).rstrip("/")))
        self._others = others
        self._interpreter = interpreter
        self._account = gate.account
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        self._random = random

    async def ticket(self, execute_uuid: str) -> Ticket:
        """Return the ticket's own facts, without batches (ShowScriptOrderBasicInfo)."""
        answer = await self._get("ticket", f"{ORDERS}/{quote(execute_uuid, safe='')}", {}, wire.TicketAnswer)
        _refuse_other(answer.data.execute_uuid == execute_uuid, "ticket")
        return self._interpreter.ticket(answer.data)

    async def statistics(self, execute_uuid: str) -> Statistics:
        """Return the API's counts over the ticket (ShowScriptOrderStatistics)."""
        path = f"{ORDERS}/{quote(execute_uuid, safe='')}/statistics"
        answer = await self._get("statistics", path, {}, wire.StatisticsAnswer)
        return self._interpreter.statistics(answer.data)

    async def batches(self, execute_uuid: str) -> tuple[int, ...]:
        """Return the indexes of the ticket's batches (ListScriptOrdersBatches)."""
        path = f"{ORDERS}/{quote(execute_uuid, safe='')}/batches"
        answer = await self._get("batches", path, {}, wire.BatchesAnswer)
        return tuple(sorted({row.batch_index for row in answer.data}))

    async def batch_page(self, execute_uuid: str, index: int, marker: int | None) -> paging.Page[Instance]:
        """Return one page of a batch, from ``marker`` on (ShowScriptOrdersBatchDetail)."""
        path = f"{ORDERS}/{quote(execute_uuid, safe='')}/batches/{index}"
        # No marker on the first page: older pages of the API give it a minimum of 1, newer ones of 0.
        parameters: Parameters = {"limit": min(self._limits.page, _BATCH_LIMIT)}
        if marker is not None:
            parameters["marker"] = marker
        answer = await self._get("batch_page", path, parameters, wire.BatchPageAnswer)
        _refuse_other(bytes(answer.data.batch_index) in (b"null", str(index).encode()), "batch_page")
        return self._interpreter.batch_page(answer.data)

    async def batch(self, execute_uuid: str, index: int) -> Batch:
        """Return a batch with all its instances; raise Incomplete when its pages end before its total."""

        async def fetch(marker: int | None) -> paging.Page[Instance]:
            return await self.batch_page(execute_uuid, index, marker)

        total, instances = await paging.whole(fetch)
        return Batch.of(index, total, instances)

    async def list_tickets(self, filters: Mapping[str, str]) -> AsyncIterator[paging.Page[Listed]]:
        """Yield the account's tickets page by page, each once, newest first as far as seen (ListScriptOrders)."""

        async def fetch(marker: int | None) -> paging.Page[Listed]:
            parameters: Parameters = {**filters, "limit": _LIST_LIMIT}
            if marker is not None:
                parameters["marker"] = marker
            answer = await self._get("list_tickets", ORDERS, parameters, wire.OrdersAnswer)
            return self._interpreter.orders(answer.data)

        async for page, new in paging.pages(fetch):
            yield paging.Page(page.total, new)

    async def aclose(self) -> None:
        """Close the connections."""
        for http in (self._http, *self._others):
            await http.aclose()

    async def _get(self, operation: str, path: str, parameters: Parameters, kind: type[Answer]) -> Answer:
        for attempt in itertools.count(1):
            try:
                return await self._once(operation, path, parameters, kind)
            except ApiError as error:
                # The frames hold the answer, and whoever holds the error would hold them.
                error.with_traceback(None)
                self._note(error)
                delay = self._delay(error, attempt)
                if delay is None:
                    raise
                self._telemetry.api_retries.labels(self._account, operation, error.reason).inc()
            await self._clock.sleep(delay)
        raise AssertionError

    async def _once(self, operation: str, path: str, parameters: Parameters, kind: type[Answer]) -> Answer:
        try:
            async with self.gate.leave(_ticket_in(path)):
                response = await self._http.send(self._request(operation, path, parameters))
                answer = self._read(response, operation, kind)
        except (BadRequest, NotFound):
            self.accepted += 1
            raise
        finally:
            self._show_sign_in()
        self.accepted += 1
        return answer

    def _request(self, operation: str, path: str, parameters: Parameters) -> httpx.Request:
        # Not by the client's get(), which merges the same base and headers anew for each: a fifth of a page's CPU.
        url = self._url(path, *parameters.items())
        extensions = {"operation": operation}
        request = httpx.Request("GET", url, headers=self._headers, stream=_NOTHING, extensions=extensions)
        request.read()
        return request

    def _read(self, response: httpx.Response, operation: str, kind: type[Answer]) -> Answer:
        judge(response, operation, self._clock.time())
        try:
            return decode(response.content, kind, operation, self._telemetry)
        except Malformed as error:
            raise disguised(response, operation) or error from None

    def _note(self, error: ApiError) -> None:
        # That we hold back tells less than the failure that made us do so.
        if self.last_error is None or not isinstance(error, Paused):
            self.last_error = error

    def _show_sign_in(self) -> None:
        self._telemetry.token_expires(self._account, self.auth.expires_at)
        self._telemetry.paused(self._account, self.gate.paused_until or self.auth.paused_until)

    def _delay(self, error: ApiError, attempt: int) -> float | None:
        """Return how long to wait before the request is sent again, None when it is not."""
        stated = error.retry_after if isinstance(error, RateLimited | ServerFailed) else None
        if stated is not None and stated > _LONGEST_WAIT:
            self.gate.hold_until(self._clock.time() + min(stated, _LONGEST_HOLD), str(error))
            return None
        if not error.retryable or attempt >= self._limits.attempts or not self.gate.may_retry():
            return None
        jittered = self._random.uniform(0, min(_BACKOFF_CAP, _BACKOFF_BASE * 2**attempt))
        return max(stated or 0.0, jittered)


def _url(base: str, path: str, *parameters: tuple[str, str | int]) -> httpx.URL:
    # With %20 for a space, as the signature has it.
    query = f"?{urlencode(parameters, quote_via=quote, safe='')}" if parameters else ""
    return httpx.URL(f"{base}{path}{query}")


def _ticket_in(path: str) -> str:
    """Return the ticket that a path names, or the listing's own name."""
    return path.removeprefix(ORDERS).strip("/").partition("/")[0] or "list"


def _refuse_other(asked_for: bool, operation: str) -> None:
    # A proxy that sends one answer too many shifts all that follow on its connection.
    if not asked_for:
        raise Malformed(f"The answer to {operation} tells of something else than was asked: is a proxy in between?")


def headers(language: str, project_id: str | None) -> dict[str, str]:
    """Return what goes with each request of an account."""
    fixed = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"coc-exporter/{__version__}",
        "X-Language": language,
    }
    return fixed if project_id is None else {**fixed, "X-Project-Id": project_id}
