"""
Draw a picture of each shipped dashboard from a real Prometheus.

    python tests/dashboards/draw.py http://127.0.0.1:9090 FOLDER [--ticket EXECUTE_UUID] [--hours H]

A small renderer of the committed JSON: it lays out the panels as Grafana does, asks their queries and draws numbers,
graphs, heatmaps and tables as SVG, of which chromium makes a PNG. It knows only what these dashboards use.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
import time
from html import escape
from pathlib import Path
from typing import Any

import httpx

SHIPPED = Path(__file__).parents[2] / "helm/coc-exporter/files/dashboards"
CELL_WIDTH, CELL_HEIGHT, MARGIN = 64, 36, 8
STEPS = 180
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8a7a00", "#777777")
INK, FAINT, PAPER, LINES = "#1f2328", "#6a737d", "#ffffff", "#d8dee4"

Series = tuple[str, list[tuple[float, float]]]


class Source:
    """The Prometheus that is asked, and what the variables stand for."""

    def __init__(self, url: str, variables: dict[str, str], hours: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._variables = variables
        self.end = time.time()
        self.start = self.end - hours * 3600
        self.step = max(5.0, (self.end - self.start) / STEPS)

    def now(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the present series."""
        answer = self._client.post("/api/v1/query", data={"query": self._filled(target["expr"])})
        return answer.raise_for_status().json()["data"]["result"]

    def over_time(self, target: dict[str, Any]) -> list[Series]:
        """Return each series by its legend."""
        asked = {
            "query": self._filled(target["expr"]),
            "start": str(self.start),
            "end": str(self.end),
            "step": str(self.step),
        }
        found = self._client.post("/api/v1/query_range", data=asked).raise_for_status().json()["data"]["result"]
        return [
            (legend(target, series["metric"]), [(at, float(value)) for at, value in series["values"]])
            for series in found
        ]

    def _filled(self, expr: str) -> str:
        values = {"__rate_interval": f"{max(30, round(self.step * 4))}s"} | self._variables
        return re.sub(r"\$(\w+)", lambda name: values.get(name[1], ".+"), expr)


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    """Return what a series is called."""
    shown = re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target["legendFormat"])
    return shown if shown != "__auto" else ", ".join(labels.values())


def written(value: float, unit: str) -> str:
    """Return a value with its unit, as short as can be."""
    ways = {
        "percentunit": lambda: f"{value * 100:.0f} %",
        "dateTimeAsIso": lambda: time.strftime("%H:%M:%S", time.gmtime(value / 1000)),
        "bytes": lambda: _scaled(value, 1024, ("B", "KiB", "MiB", "GiB")),
        "s": lambda: _duration(value),
        "reqps": lambda: f"{value:.3g}/s",
        "ops": lambda: f"{value:.3g}/s",
    }
    return ways.get(unit, lambda: f"{value:.4g}")() if math.isfinite(value) else "-"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    power = min(len(units) - 1, int(math.log(max(abs(value), 1), base)))
    return f"{value / base**power:.3g} {units[power]}"


def _duration(value: float) -> str:
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


class Frame:
    """Where a panel is drawn, and with what."""

    def __init__(self, canvas: Canvas, panel: dict[str, Any], top: float) -> None:
        place = panel["gridPos"]
        self.canvas, self.panel = canvas, panel
        self.x, self.y = place["x"] * CELL_WIDTH + MARGIN / 2, top + place["y"] * CELL_HEIGHT + MARGIN / 2
        self.width, self.height = place["w"] * CELL_WIDTH - MARGIN, place["h"] * CELL_HEIGHT - MARGIN
        self.defaults = panel.get("fieldConfig", {}).get("defaults", {})
        self.unit = self.defaults.get("unit", "short")

    def properties(self, name: str) -> dict[str, Any]:
        """Return what the overrides say of a series or column."""
        found: dict[str, Any] = {}
        for override in self.panel["fieldConfig"]["overrides"]:
            matcher = override["matcher"]
            fits = matcher["options"] == name
            if matcher["id"] == "byRegexp":
                fits = re.search(matcher["options"].strip("/"), name) is not None
            if fits:
                found |= {prop["id"]: prop["value"] for prop in override["properties"]}
        return found

    def colour(self, name: str, place: int) -> str:
        """Return the colour of a series."""
        fixed = self.properties(name).get("color")
        return fixed["fixedColor"] if fixed else PALETTE[place % len(PALETTE)]

    def level(self, value: float) -> str:
        """Return the colour of a value by the thresholds."""
        if self.panel["options"].get("colorMode") == "none":
            return INK
        steps = self.defaults["thresholds"]["steps"]
        return [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]


def numbers(frame: Frame, source: Source) -> None:
    """Draw the present values."""
    found = [
        (legend(target, series["metric"]), float(series["value"][1]))
        for target in frame.panel["targets"]
        for series in source.now(target)
    ]
    if not found:
        frame.canvas.text(frame.x + frame.width / 2, frame.y + 85, "none", size=22, colour=FAINT, text_anchor="middle")
    mode = frame.panel["options"]["textMode"]
    part = frame.width / max(1, len(found))
    for place, (name, value) in enumerate(found):
        middle = frame.x + part * (place + 0.5)
        fixed = frame.properties(name).get("color")
        colour = fixed["fixedColor"] if fixed else frame.level(value)
        words = name if mode == "name" else written(value, frame.unit)
        size = min(34, int(part / max(1, len(words)) * 1.35))
        frame.canvas.text(
            middle, frame.y + 88, words, size=size, colour=colour, text_anchor="middle", font_weight="bold"
        )
        if mode == "value_and_name":
            frame.canvas.text(middle, frame.y + 118, name, size=11, colour=FAINT, text_anchor="middle")


def graph(frame: Frame, source: Source) -> None:
    """Draw series over time."""
    series = [found for target in frame.panel["targets"] for found in source.over_time(target)]
    series.sort(key=lambda found: found[0])
    custom = frame.defaults.get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    x, y, width, height = frame.x + 62, frame.y + 34, frame.width - 62 - 200, frame.height - 64
    layers = _stacked(series, source) if stacked else [(name, points, []) for name, points in series]
    values = [value for _, points, _ in layers for _, value in points if math.isfinite(value)]
    limits = [step["value"] for step in frame.defaults.get("thresholds", {}).get("steps", []) if step["value"]]
    low = min([frame.defaults.get("min", min(values, default=0.0)), *([] if "min" in frame.defaults else values)])
    high = frame.defaults.get("max", max(values, default=1.0) * 1.05) or 1.0
    high = max(high, low + 1e-9)

    def at(moment: float, value: float) -> tuple[float, float]:
        across = (moment - source.start) / (source.end - source.start)
        up = (min(max(value, low), high) - low) / (high - low)
        return x + across * width, y + height - up * height

    _axes(frame, source, (x, y, width, height), [low + (high - low) * part / 4 for part in range(5)], at)
    for place, (name, points, floor) in reversed(list(enumerate(layers))):
        colour = frame.colour(name, place)
        drawn = [at(moment, value) for moment, value in points if math.isfinite(value)]
        if stacked:
            frame.canvas.path([*drawn, *[at(moment, value) for moment, value in reversed(floor)]], colour, fill=True)
        for piece in _pieces(points, source.step):
            dashed = "custom.lineStyle" in frame.properties(name)
            frame.canvas.path([at(moment, value) for moment, value in piece], colour, dashed=dashed)
    for limit in limits:
        if low < limit < high:
            frame.canvas.path([at(source.start, limit), at(source.end, limit)], "#D55E00", dashed=True)
    _legend(frame, series, x + width + 16, y)


def _stacked(
    series: list[Series], source: Source
) -> list[tuple[str, list[tuple[float, float]], list[tuple[float, float]]]]:
    moments = [
        source.start + source.step * place for place in range(int((source.end - source.start) / source.step) + 1)
    ]
    sums = dict.fromkeys(range(len(moments)), 0.0)
    layers = []
    for name, points in series:
        floor = [(moment, sums[place]) for place, moment in enumerate(moments)]
        for at, value in points:
            place = round((at - source.start) / source.step)
            if place in sums and math.isfinite(value):
                sums[place] += value
        layers.append((name, [(moment, sums[place]) for place, moment in enumerate(moments)], floor))
    return layers


def _pieces(points: list[tuple[float, float]], step: float) -> list[list[tuple[float, float]]]:
    """Return the stretches of a line between its gaps."""
    pieces: list[list[tuple[float, float]]] = []
    for point in points:
        if not math.isfinite(point[1]):
            continue
        if pieces and point[0] - pieces[-1][-1][0] <= 1.5 * step:
            pieces[-1].append(point)
        else:
            pieces.append([point])
    return pieces


def _axes(frame: Frame, source: Source, area: tuple[float, ...], ticks: list[float], at: Any) -> None:
    x, _, width, _ = area
    for tick in ticks:
        _, height = at(source.start, tick)
        frame.canvas.path([(x, height), (x + width, height)], LINES)
        frame.canvas.text(x - 6, height + 4, written(tick, frame.unit), size=10, colour=FAINT, text_anchor="end")
    _times(frame, source, area)


def _times(frame: Frame, source: Source, area: tuple[float, ...]) -> None:
    x, y, width, height = area
    for part in range(5):
        moment = source.start + (source.end - source.start) * part / 4
        shown = time.strftime("%H:%M", time.gmtime(moment))
        place = x + width * part / 4
        frame.canvas.text(place, y + height + 16, shown, size=10, colour=FAINT, text_anchor="middle")


def _legend(frame: Frame, series: list[Series], x: float, y: float) -> None:
    room = int((frame.height - 50) / 15)
    for place, (name, points) in enumerate(series[:room]):
        colour = frame.colour(name, place)
        frame.canvas.box(x, y + place * 15 - 2, 10, 4, colour)
        value = written(points[-1][1], frame.unit) if points else ""
        frame.canvas.text(x + 15, y + place * 15 + 4, _cut(name, 20), size=10)
        frame.canvas.text(
            frame.x + frame.width - 8, y + place * 15 + 4, value, size=10, colour=FAINT, text_anchor="end"
        )


def _cut(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"


def heatmap(frame: Frame, source: Source) -> None:
    """Draw how many fell into each bucket."""
    found = {name: dict(points) for target in frame.panel["targets"] for name, points in source.over_time(target)}
    bounds = sorted(found, key=float)
    x, y, width, height = frame.x + 62, frame.y + 34, frame.width - 62 - 20, frame.height - 64
    moments = sorted({moment for points in found.values() for moment in points})
    below: dict[float, float] = dict.fromkeys(moments, 0.0)
    cells = []
    for place, bound in enumerate(bounds):
        for moment in moments:
            count = found[bound].get(moment, below[moment])
            cells.append((place, moment, max(0.0, count - below[moment])))
            below[moment] = max(below[moment], count)
    most = max((count for _, _, count in cells), default=0.0) or 1.0
    tall, wide = height / max(1, len(bounds)), width * source.step / (source.end - source.start)
    for place, moment, count in cells:
        if count > 1e-9:
            across = (moment - source.start) / (source.end - source.start) * width
            shade = _viridis(math.sqrt(count / most))
            frame.canvas.box(x + across - wide, y + height - (place + 1) * tall, wide + 0.3, tall + 0.3, shade)
    for place, bound in enumerate(bounds):
        label = "∞" if bound == "+Inf" else _duration(float(bound))
        frame.canvas.text(x - 6, y + height - (place + 1) * tall + 4, label, size=10, colour=FAINT, text_anchor="end")
    _times(frame, source, (x, y, width, height))


def _viridis(share: float) -> str:
    """Return a colour of the scale that Grafana draws heatmaps with."""
    stops = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(stops[low], stops[low + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def table(frame: Frame, source: Source) -> None:
    """Draw the rows that the queries have in common."""
    rows: dict[tuple[str, str, str], dict[str, str | float]] = {}
    for target in frame.panel["targets"]:
        for series in source.now(target):
            labels = series["metric"]
            key = (labels.get("account", ""), labels["execute_uuid"], labels.get("instance_id", ""))
            rows.setdefault(key, {}).update(labels)
            rows[key][f"Value #{target['refId']}"] = float(series["value"][1])
    organize = next(step for step in frame.panel["transformations"] if step["id"] == "organize")["options"]
    columns = sorted(organize["renameByName"], key=organize["indexByName"].get)
    wide = (frame.width - 16) / len(columns)
    for place, column in enumerate(columns):
        name = organize["renameByName"][column]
        properties = frame.properties(name)
        x = frame.x + 10 + place * wide
        frame.canvas.text(x, frame.y + 46, name, size=11, colour=FAINT, font_weight="bold")
        ordered = sorted(rows.values(), key=lambda row: str(row.get("name", row.get("host_name", ""))))
        for line, row in enumerate(ordered[: int((frame.height - 60) / 20)]):
            value = row.get(column, "")
            words = written(value, properties.get("unit", "short")) if isinstance(value, float) else value
            colour = _cell_colour(words, value, properties)
            frame.canvas.text(x, frame.y + 68 + line * 20, _cut(words, int(wide / 6.6)), size=11, colour=colour)


def _cell_colour(words: str, value: str | float, properties: dict[str, Any]) -> str:
    for mapping in properties.get("mappings", ()):
        if words in mapping["options"]:
            return str(mapping["options"][words]["color"])
    if "thresholds" in properties and isinstance(value, float) and value >= 1:
        return str(properties["thresholds"]["steps"][-1]["color"])
    return INK


DRAWERS = {"stat": numbers, "timeseries": graph, "heatmap": heatmap, "table": table}


def picture(board: dict[str, Any], source: Source) -> tuple[str, int, int]:
    """Return the SVG of a dashboard with its size."""
    canvas = Canvas()
    top = 48
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * CELL_WIDTH, top + bottom * CELL_HEIGHT + MARGIN
    canvas.box(0, 0, width, height, "#f4f5f7")
    canvas.text(14, 31, board["title"], size=20, font_weight="bold")
    for panel in board["panels"]:
        frame = Frame(canvas, panel, top)
        if panel["type"] == "row":
            canvas.text(frame.x + 8, frame.y + 20, panel["title"], size=14, font_weight="bold")
            continue
        canvas.box(frame.x, frame.y, frame.width, frame.height, PAPER, LINES)
        canvas.text(frame.x + 10, frame.y + 20, panel["title"], size=13, font_weight="bold")
        DRAWERS[panel["type"]](frame, source)
    return canvas.svg(width, height), width, height


def to_png(svg: str, size: tuple[int, int], path: Path) -> None:
    """Let chromium make a PNG of the picture."""
    page = path.with_suffix(".html")
    page.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{svg}', encoding="utf-8")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "google-chrome"
    program = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    shot = [f"--screenshot={path}", f"--window-size={size[0]},{size[1]}", page.as_uri()]
    subprocess.run([*program, *shot], check=True, capture_output=True)
    page.unlink()


def main() -> None:
    """Draw every dashboard into the folder."""
    parser = argparse.ArgumentParser(description="Draw a picture of each dashboard.")
    parser.add_argument("url", help="of the Prometheus")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ticket", default=".+", help="execute_uuid of the ticket's dashboard")
    parser.add_argument("--hours", type=float, default=1.0)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(SHIPPED.glob("*.json")):
        variables = {"window_hours": "1"}
        if path.stem == "coc-ticket":
            variables["execute_uuid"] = asked.ticket
        svg, *size = picture(json.loads(path.read_text()), Source(asked.url, variables, asked.hours))
        to_png(svg, (size[0], size[1]), folder / f"{path.stem}.png")


if __name__ == "__main__":
    main()
