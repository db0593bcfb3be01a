"""Health, readiness and reload, as Prometheus itself answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, Response

from exporter.errors import ExporterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from exporter.server.site import Site


async def healthy(_request: Request) -> Response:
    """Answer 200 while the process lives."""
    return PlainTextResponse("coc-exporter is healthy.\n")


class Lifecycle:
    """What depends on the site: whether it is ready, and whether it may be reloaded."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def ready(self, _request: Request) -> Response:
        """Answer 503 until every ticket was tried once, and when polls have stopped."""
        if self._site.ready():
            return PlainTextResponse("coc-exporter is ready.\n")
        return PlainTextResponse("coc-exporter is not ready: not every ticket was tried lately.\n", 503)

    async def reload(self, request: Request) -> Response:
        """Take the config anew; on failure answer 500 with the reason."""
        if not self._site.lifecycle:
            return PlainTextResponse("Lifecycle API is not enabled: see --web.enable-lifecycle.\n", 403)
        if not of_this_site(request.headers, self._site.external_url):
            return PlainTextResponse("A page of another site must not reload the config.\n", 403)
        try:
            await self._site.reload()
        except ExporterError as error:
            return PlainTextResponse(f"failed to reload config: {error}\n", 500)
        return PlainTextResponse("coc-exporter reloaded its config.\n")


def of_this_site(headers: Mapping[str, str], external_url: str) -> bool:
    """Tell whether a request comes from our own pages, or from no browser at all."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    return origin is None or _host(origin) in {headers.get("host", ""), _host(external_url)} - {""}


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""
