"""What the log says of failures: a change at once, the same again at most every 15 minutes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.clock import Clock
    from exporter.snapshot import Failure, Fault, Ticket

_logger = logging.getLogger(__name__)
_REPEAT_AFTER = 15 * 60.0


class Journal:
    """Remember what was logged of each subject, an account or a ticket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, ...], tuple[str, float]] = {}

    def failed(self, fault: Fault, **subject: str) -> None:
        """Log the failure of ``subject`` unless the same was logged within 15 minutes."""
        key = tuple(subject.values())
        now = self._clock.monotonic()
        reason, told = self._told.get(key, ("", 0.0))
        if reason == fault.reason and now - told < _REPEAT_AFTER:
            return
        self._told[key] = (fault.reason, now)
        _logger.warning("Cannot be read", extra={**subject, "reason": fault.reason, "err": fault.message})

    def told_failures(self, account: str, held: Ticket | None, fresh: Ticket) -> None:
        """Log each instance that became ABNORMAL since ``held``: where and why, and never the text of its log."""
        for failure in _new_failures(() if held is None else held.failures(), tuple(fresh.failures())):
            subject = {"account": account, "ticket": fresh.execute_uuid, "batch": failure.batch}
            what = {"instance_id": failure.instance_id, "host": failure.host_name, "reason": failure.reason}
            _logger.info("Instance became ABNORMAL", extra=subject | what)

    def recovered(self, **subject: str) -> None:
        """Log that ``subject`` can be read again, if it could not."""
        if self._told.pop(tuple(subject.values()), None) is not None:
            _logger.info("Can be read again", extra=subject)

    def forget(self, **subject: str) -> None:
        """Drop what was logged of a subject that is watched no more."""
        self._told.pop(tuple(subject.values()), None)


def _new_failures(held: Iterable[Failure], fresh: Sequence[Failure]) -> Iterator[Failure]:
    """Yield the failures that came since; one that was open and has its end now is none of them."""
    known = {failure.key for failure in held}
    ended = {instance_id for instance_id, finished in known.difference(told.key for told in fresh) if finished is None}
    return (failure for failure in fresh if failure.key not in known and failure.instance_id not in ended)
