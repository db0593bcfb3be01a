"""What a dashboard's queries give: the Prometheus behind the pictures."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx

STEPS = 180

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

    def exemplars(self, target: dict[str, Any]) -> list[tuple[float, float]]:
        """Return time and value of each example that was stored with the series."""
        asked = {"query": self._filled(target["expr"]), "start": str(self.start), "end": str(self.end)}
        found = self._client.post("/api/v1/query_exemplars", data=asked).raise_for_status().json()["data"]
        return [(one["timestamp"], float(one["value"])) for series in found for one in series["exemplars"]]

    def _filled(self, expr: str) -> str:
        values = {"__rate_interval": f"{max(30, round(self.step * 4))}s"} | self._variables
        return re.sub(r"\$(\w+)", lambda name: values.get(name[1], ".+"), expr)


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    """Return what a series is called."""
    shown = re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target["legendFormat"])
    return shown if shown != "__auto" else ", ".join(labels.values())
