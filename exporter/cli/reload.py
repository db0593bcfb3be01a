"""The config anew, by SIGHUP, by request, or because the file changed: the whole new one, or the old one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter import config, reasons
from exporter.errors import ExporterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from exporter.cli.wiring import Changes
    from exporter.config import Config
    from exporter.telemetry import Telemetry

    Apply = Callable[[Config], Awaitable[Changes]]

_logger = logging.getLogger(__name__)
_LOOK_EVERY = 5.0


class Reloader:
    """
    Load ``path`` again and ``apply`` it; ``note`` says what the last reload did. ``now`` is the config in force.

    What is unwise in a config is warned of once, at the start or at the reload that brings it.
    """

    def __init__(self, now: Config, path: Path | None, telemetry: Telemetry, apply: Apply) -> None:
        self.note = ""
        self._path = path
        self._telemetry = telemetry
        self._apply = apply
        self._lock = asyncio.Lock()
        self._seen = self._text()
        self._warned: set[str] = set()
        self._warn(now)

    async def reload(self) -> None:
        """Load the file; raise ExporterError and keep the old config when it has faults."""
        async with self._lock:
            try:
                await self._reload()
            except ExporterError as error:
                self._telemetry.config_reload_ok.set(0)
                self.note = f"The last reload failed, the config before it is in force: {error}"
                _logger.error("Reload failed, the old config stays", extra={"err": str(error)})  # noqa: TRY400  the error says all
                raise

    async def watch(self, hangup: asyncio.Event, *, automatic: bool) -> None:
        """Reload at each hangup and, if ``automatic``, when the file changed; never return."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(hangup.wait(), _LOOK_EVERY if automatic else None)
            if hangup.is_set() or self._text() != self._seen:
                hangup.clear()
                with suppress(ExporterError):
                    await self.reload()

    async def _reload(self) -> None:
        if self._path is None:
            raise UsageError("there is no config file to load again")
        # Secrets may have changed even where the text has not, so it is loaded all the same.
        self._seen = self._text()
        loaded = config.load(self._path, check_pattern=reasons.fault)
        changes = await self._apply(loaded)
        self.note = f"The last reload added {changes.added}, removed {changes.removed} and kept {changes.kept} tickets."
        _logger.info(
            "Config loaded again", extra={"added": changes.added, "removed": changes.removed, "kept": changes.kept}
        )
        self._warn(loaded)

    def _warn(self, loaded: Config) -> None:
        for sentence in loaded.warnings:
            if sentence not in self._warned:
                _logger.warning("The config is unwise", extra={"warning": sentence})
        self._warned = set(loaded.warnings)

    def _text(self) -> bytes | None:
        try:
            return None if self._path is None else self._path.read_bytes()
        except OSError:
            return None
