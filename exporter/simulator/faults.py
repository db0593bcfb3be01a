"""The switches that make the simulator misbehave, and the one place that holds their present position."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, get_type_hints

from exporter.simulator.plan import Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

API_DOWN = ("", "503", "close")
METADATA = ("token", "plain", "no_agency", "absent")
_CHOICES = {"api_down": API_DOWN, "metadata": METADATA}
_SHARES = {"throttle", "errors"}
_YES, _NO = {"on", "true", "yes", "1"}, {"off", "false", "no", "0", ""}


@dataclass(frozen=True)
class Switches:
    """
    Everything that can be made to go wrong; the defaults are the API behaving.

    Shares are 0..1 of the requests, spread evenly and without chance. ``waves`` are recorded intervals; the
    switch ``failure_wave`` opens one with the given share, 0 closes it. ``revoked_tokens`` counts how often
    all tokens were revoked.
    """

    page_cap: int = 0
    descending: bool = False
    overlap: bool = False
    stuck_marker: bool = False
    null_pages: bool = False
    unknown_batch_empty: bool = False
    lenient_limit: bool = False
    throttle: float = 0.0
    retry_after: int = 0
    errors: float = 0.0
    latency: float = 0.0
    empty_site: bool = False
    empty_answers: bool = False
    html: bool = False
    locked_key: bool = False
    api_down: str = ""
    drop_statistics: bool = False
    revoked_tokens: int = 0
    clock_offset: float = 0.0
    metadata: str = "token"
    waves: tuple[Wave, ...] = ()


NAMES = tuple(field.name for field in fields(Switches) if field.name != "waves")
"""The switches with a value of their own; ``failure_wave`` stands beside them."""

_TYPES = get_type_hints(Switches)


class BadSwitchError(ValueError):
    """No such switch, or no such position."""


class Controls:
    """Holds the switches; a change replaces them whole, so a request never sees half of one."""

    def __init__(self, switches: Switches, clock: Callable[[], float]) -> None:
        self.switches = switches
        self._clock = clock

    def set(self, **changes: object) -> Switches:
        """Turn the named switches, all or, when one is wrong, none."""
        wave = changes.pop("failure_wave", None)
        positions: dict[str, Any] = {name: _position(name, value) for name, value in changes.items()}
        turned = replace(self.switches, **positions)
        if wave is not None:
            share = _number("failure_wave", wave, 1.0)
            turned = replace(turned, waves=_rolled(turned.waves, share, self._clock()))
        self.switches = turned
        return turned

    def reset(self) -> None:
        """Put every switch back, and end a wave; what a wave did remains done."""
        self.switches = Switches(waves=_rolled(self.switches.waves, 0, self._clock()))

    @property
    def failure_wave(self) -> float:
        """Return the share of the wave that is on, else 0."""
        return sum(wave.share for wave in self.switches.waves if wave.until == inf)

    def as_json(self) -> dict[str, Any]:
        """Return every switch by name; the end of a wave that is on is null."""
        shown = {name: getattr(self.switches, name) for name in NAMES}
        waves = [[w.since, None if w.until == inf else w.until, w.share] for w in self.switches.waves]
        return shown | {"failure_wave": self.failure_wave, "waves": waves}


def _rolled(waves: tuple[Wave, ...], share: float, now: float) -> tuple[Wave, ...]:
    ended = tuple(wave._replace(until=now) if wave.until == inf else wave for wave in waves)
    return (*ended, Wave(now, inf, share)) if share else ended


def _position(name: str, value: object) -> object:
    if name == "waves":
        return _waves(value)
    if name not in NAMES:
        raise BadSwitchError(f"no such switch: {name}; there are: {', '.join((*NAMES, 'failure_wave'))}")
    if _TYPES[name] is bool:
        return _truth(name, value)
    if _TYPES[name] is str:
        return _choice(name, value)
    number = _number(name, value, 1.0 if name in _SHARES else inf)
    return int(number) if _TYPES[name] is int else number


def _truth(name: str, value: object) -> bool:
    word = str(value).lower()
    if word not in _YES | _NO:
        raise BadSwitchError(f"{name}: on or off, not {value!r}")
    return word in _YES


def _choice(name: str, value: object) -> str:
    word = "" if str(value) in _NO else str(value)
    if word not in _CHOICES[name]:
        raise BadSwitchError(f"{name}: one of {', '.join(filter(None, _CHOICES[name]))}, not {value!r}")
    return word


def _number(name: str, value: object, highest: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise BadSwitchError(f"{name}: a number, not {value!r}") from None
    lowest = -inf if name == "clock_offset" else 0
    if not (lowest <= number <= highest and abs(number) < inf):
        raise BadSwitchError(f"{name}: {value!r} is out of range")
    return number


def _waves(value: object) -> tuple[Wave, ...]:
    try:
        rows = [tuple(row) for row in value]  # type: ignore[attr-defined]  # what is no list is refused
        return tuple(Wave(float(a), inf if b is None else float(b), float(share)) for a, b, share in rows)
    except (TypeError, ValueError):
        raise BadSwitchError("waves: a list of [since, until or null, share]") from None


def from_json(controls: Controls, changes: Mapping[str, object]) -> None:
    """Turn switches as ``GET /-/switches`` shows them; an unchanged ``failure_wave`` opens no second wave."""
    known = dict(changes)
    if known.get("failure_wave") == controls.failure_wave:
        del known["failure_wave"]
    controls.set(**known)
