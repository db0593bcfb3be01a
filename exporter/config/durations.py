"""Prometheus durations (``90s``, ``1h30m``, ``1d``) to seconds and back."""

import re

_UNITS = (
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
)
_DURATION = re.compile("".join(f"(?:([0-9]{{1,12}}){unit})?" for unit, _ in _UNITS))
# Days are the largest unit that is written: "30d" is plainer than "4w2d".
_WRITTEN = _UNITS[2:]


def seconds(text: str) -> float | None:
    """Return the duration in seconds; None when the text is no duration."""
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    counts = (int(count or 0) for count in found.groups())
    return sum(count * unit for count, (_, unit) in zip(counts, _UNITS, strict=True)) / 1000


def written(duration: float) -> str:
    """Return the seconds as a Prometheus duration, to the millisecond."""
    left = round(duration * 1000)
    parts = []
    for unit, size in _WRITTEN:
        count, left = divmod(left, size)
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"
