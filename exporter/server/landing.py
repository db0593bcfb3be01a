"""The page at the route prefix where nobody has a better one: what this is, and where its paths are."""

from __future__ import annotations

from html import escape

from exporter import __version__

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>coc-exporter</title></head>
<body>
<h1>coc-exporter</h1>
<p>Prometheus exporter for Huawei Cloud COC script tickets, version {version}.</p>
<ul>
{links}
</ul>
</body>
</html>
"""


def page(telemetry_path: str) -> str:
    """Return the HTML; its links are relative, so they hold behind any proxy."""
    targets = {
        "Metrics": telemetry_path.lstrip("/"),
        "Config": "config",
        "Health": "-/healthy",
        "Readiness": "-/ready",
        "OpenAPI": "api/v1/openapi.json",
    }
    links = "\n".join(f'<li><a href="{escape(target)}">{name}</a></li>' for name, target in targets.items())
    return _PAGE.format(version=escape(__version__), links=links)
