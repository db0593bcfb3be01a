"""Words, ticks and shapes as SVG."""

from __future__ import annotations

import math
import time
from html import escape

INK, FAINT, PAPER, LINES = "#1f2328", "#6a737d", "#ffffff", "#d8dee4"


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit, as short as can be."""
    if decimals == 0 and unit == "s":
        value = round(value)
    ways = {
        "percentunit": lambda: f"{value * 100:.{2 if abs(value) < 0.1 else 3}g} %",
        "dateTimeAsIso": lambda: time.strftime("%H:%M:%S", time.gmtime(value / 1000)),
        "bytes": lambda: _scaled(value, 1024, ("B", "KiB", "MiB", "GiB")),
        "s": lambda: duration(value),
        "reqps": lambda: f"{value:.3g}/s",
        "ops": lambda: f"{value:.3g}/s",
    }
    return ways.get(unit, lambda: f"{value:.4g}")() if math.isfinite(value) else "-"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    power = min(len(units) - 1, int(math.log(max(abs(value), 1), base)))
    return f"{value / base**power:.3g} {units[power]}"


def duration(value: float) -> str:
    """Return seconds in the unit that suits them."""
    size = abs(value)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if size >= seconds:
            return f"{value / seconds:.3g} {unit}"
    return f"{value * 1000:.3g} ms"


class Canvas:
    """SVG, piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def text(self, x: float, y: float, words: str, *, size: int = 12, colour: str = INK, **more: str) -> None:
        """Write words; ``more`` are attributes, with ``_`` for the hyphen."""
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self._pieces.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{extra}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none") -> None:
        """Draw a rectangle."""
        self._pieces.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" stroke="{edge}"/>'
        )

    def path(self, points: list[tuple[float, float]], colour: str, *, fill: bool = False, dashed: bool = False) -> None:
        """Draw a line, or what it encloses."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if fill:
            self._pieces.append(f'<polygon points="{way}" fill="{colour}" fill-opacity="0.65"/>')
        else:
            dash = ' stroke-dasharray="6 5"' if dashed else ""
            self._pieces.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')

    def svg(self, width: float, height: float) -> str:
        """Return the picture."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="DejaVu Sans, sans-serif">{"".join(self._pieces)}</svg>'
        )


def ticks(low: float, high: float, unit: str) -> list[float]:
    """Return round values to draw lines at."""
    wanted = max((high - low) / 4, 1e-9)
    if unit == "s" and wanted >= 1:
        step = next((step for step in _CLOCK if step >= wanted), 86400.0 * math.ceil(wanted / 86400))
    else:
        base = 1024.0 ** int(math.log(max(wanted, 1), 1024)) if unit == "bytes" else 1.0
        power = 10 ** math.floor(math.log10(wanted / base))
        step = base * next(power * round_ for round_ in (1, 2, 5, 10) if power * round_ * base >= wanted * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


_CLOCK = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
