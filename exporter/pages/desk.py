"""What the pages need to know, and where their links lead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter.snapshot import Snapshot


def _silent() -> str:
    return ""


@dataclass(frozen=True)
class Links:
    """The paths of the pages as a browser must ask for them; ``base`` is empty or begins with a slash."""

    base: str = ""

    def to(self, path: str) -> str:
        """Return the link to one of our own paths."""
        return f"{self.base}{path}"

    def ticket(self, account: str, execute_uuid: str, *, api: bool = False) -> str:
        """Return the link to a ticket's page, or to its JSON."""
        stem = "/api/v1/tickets" if api else "/tickets"
        return self.to(f"{stem}/{_quoted(account)}/{_quoted(execute_uuid)}")


@dataclass(frozen=True)
class Desk:
    """
    What the pages need to know.

    ``interval`` is the poll's, in seconds. ``console_urls`` holds a template with ``{execute_uuid}`` by account.
    ``patterns`` are pairs of reason and pattern in the order in which they are tried. ``reload_note`` says in a
    sentence what the last reload changed. The routes themselves carry no prefix: whoever mounts them adds it.
    """

    current: Callable[[], Snapshot]
    now: Callable[[], float]
    interval: float
    console_urls: Mapping[str, str] = field(default_factory=dict)
    show_logs: bool = True
    external_url: str = ""
    route_prefix: str = "/"
    patterns: Sequence[tuple[str, str]] = ()
    reload_note: Callable[[], str] = _silent
    version: str = ""
    telemetry_path: str = "/metrics"

    @property
    def links(self) -> Links:
        """Where links lead: below the external URL's path if there is one, else below the prefix."""
        path = urlsplit(self.external_url).path if self.external_url else self.route_prefix
        stem = path.strip("/")
        return Links(f"/{stem}" if stem else "")

    def console_url(self, account: str, execute_uuid: str) -> str | None:
        """Return the link to a ticket in the account's console, None where none is configured."""
        template = self.console_urls.get(account, "")
        if urlsplit(template).scheme not in ("http", "https"):
            return None
        return template.replace("{execute_uuid}", quote(execute_uuid, safe=""))


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="replace")
