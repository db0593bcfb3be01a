"""
Draw a picture of each shipped dashboard from a real Prometheus.

    python tests/dashboards/draw.py http://127.0.0.1:9090 FOLDER [--ticket EXECUTE_UUID] [--hours H]

A small renderer of the committed JSON: it lays out the panels as Grafana does, asks their queries and draws numbers,
graphs, heatmaps and tables as SVG, of which chromium makes a PNG. It knows only what these dashboards use.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from canvas import LINES, PAPER, Canvas
from panels import CELL_HEIGHT, CELL_WIDTH, DRAWERS, MARGIN, Frame
from source import Source

SHIPPED = Path(__file__).parents[2] / "helm/coc-exporter/files/dashboards"


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
