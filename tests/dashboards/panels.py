"""The panels that the dashboards use, drawn."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from canvas import FAINT, INK, LINES, Canvas, duration, ticks, written
from source import Series, legend

if TYPE_CHECKING:
    from source import Source

CELL_WIDTH, CELL_HEIGHT, MARGIN = 64, 36, 8
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8a7a00", "#777777")

Row = dict[str, str | float]


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
        words = name if mode == "name" else written(value, frame.unit, frame.defaults.get("decimals"))
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
    beside = frame.panel["options"]["legend"]["placement"] == "right"
    room = (200, 64) if beside else (16, 64 + 15 * -(-min(len(series), 6) // 2))
    x, y, width, height = frame.x + 62, frame.y + 34, frame.width - 62 - room[0], frame.height - room[1]
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

    _axes(frame, source, (x, y, width, height), ticks(low, high, frame.unit), at)
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
    if beside:
        _legend(frame, series, x + width + 16, y)
    else:
        _legend_below(frame, series, y + height + 32)


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


def _legend_below(frame: Frame, series: list[Series], y: float) -> None:
    half = (frame.width - 24) / 2
    for place, (name, points) in enumerate(series[:6]):
        x, line = frame.x + 12 + place % 2 * half, y + place // 2 * 15
        value = written(points[-1][1], frame.unit) if points else ""
        frame.canvas.box(x, line - 6, 10, 4, frame.colour(name, place))
        frame.canvas.text(x + 15, line, f"{_cut(name, 24)}  {value}", size=10)


def bars(frame: Frame, source: Source) -> None:
    """Draw a bar for each series."""
    (target,) = frame.panel["targets"]
    found = [(legend(target, series["metric"]), float(series["value"][1])) for series in source.now(target)]
    most = frame.defaults.get("max", max((value for _, value in found), default=1.0)) or 1.0
    room = frame.height - 44
    tall = min(24.0, room / max(1, len(found)))
    x, width = frame.x + 190, frame.width - 190 - 80
    for place, (name, value) in enumerate(found):
        y = frame.y + 36 + place * tall
        frame.canvas.text(x - 8, y + tall * 0.66, _cut(name, 26), size=11, text_anchor="end")
        frame.canvas.box(x, y + 2, width, tall - 4, "#eef0f2")
        frame.canvas.box(x, y + 2, width * min(value / most, 1), tall - 4, "#0072B2")
        words = written(value, frame.unit)
        frame.canvas.text(frame.x + frame.width - 10, y + tall * 0.66, words, size=11, text_anchor="end")
    if not found:
        frame.canvas.text(frame.x + frame.width / 2, frame.y + 120, "none", size=22, colour=FAINT, text_anchor="middle")


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
    for moment, value in (dot for target in frame.panel["targets"] for dot in source.exemplars(target)):
        across = (moment - source.start) / (source.end - source.start) * width
        row = next((place for place, bound in enumerate(bounds) if value <= float(bound)), len(bounds) - 1)
        frame.canvas.box(x + across - 2, y + height - (row + 0.5) * tall - 2, 4, 4, "#D55E00")
    for place, bound in enumerate(bounds):
        label = "∞" if bound == "+Inf" else duration(float(bound))
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
    rows: dict[tuple[str, str, str], Row] = {}
    for target in frame.panel["targets"]:
        for series in source.now(target):
            labels = series["metric"]
            key = (labels.get("account", ""), labels["execute_uuid"], labels.get("instance_id", ""))
            rows.setdefault(key, {}).update(labels)
            rows[key][f"Value #{target['refId']}"] = float(series["value"][1])
    organize = next(step for step in frame.panel["transformations"] if step["id"] == "organize")["options"]
    columns = sorted(organize["renameByName"], key=organize["indexByName"].get)
    ordered = _sorted(list(rows.values()), frame.panel["transformations"])[: int((frame.height - 60) / 20)]
    cells = {column: [_cell(frame, column, row, organize) for row in ordered] for column in columns}
    names = organize["renameByName"]
    longest = {c: min(30, max([len(names[c]) + 1, *(len(words) for words, _ in cells[c])])) + 1 for c in columns}
    part = (frame.width - 16) / sum(longest.values())
    x = frame.x + 10
    for column in columns:
        wide = longest[column] * part
        frame.canvas.text(x, frame.y + 46, names[column], size=11, colour=FAINT, font_weight="bold")
        for line, (words, colour) in enumerate(cells[column]):
            frame.canvas.text(x, frame.y + 68 + line * 20, _cut(words, int(wide / 6.4)), size=11, colour=colour)
        x += wide


def _sorted(rows: list[Row], transformations: list[dict[str, Any]]) -> list[Row]:
    by = [step["options"]["sort"][0]["field"] for step in transformations if step["id"] == "sortBy"]
    if by:
        return sorted(rows, key=lambda row: float(row.get(by[0], math.inf)))
    return sorted(rows, key=lambda row: str(row.get("host_name", "")))


def _cell(frame: Frame, column: str, row: Row, organize: dict[str, Any]) -> tuple[str, str]:
    properties = frame.properties(organize["renameByName"][column])
    value = row.get(column, "")
    known = isinstance(value, float)
    words = written(value, properties.get("unit", "short"), properties.get("decimals")) if known else str(value)
    return words, _cell_colour(words, value, properties)


def _cell_colour(words: str, value: str | float, properties: dict[str, Any]) -> str:
    for mapping in properties.get("mappings", ()):
        if words in mapping["options"]:
            return str(mapping["options"][words]["color"])
    if "thresholds" in properties and isinstance(value, float) and value >= 1:
        return str(properties["thresholds"]["steps"][-1]["color"])
    return INK


DRAWERS = {"stat": numbers, "bargauge": bars, "timeseries": graph, "heatmap": heatmap, "table": table}
