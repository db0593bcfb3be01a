"""From view models to bytes: HTML through templates that escape, JSON as it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from exporter.pages import figures, query, text, words

if TYPE_CHECKING:
    from jinja2 import Environment

    from exporter.pages.models import Overview, TicketView

_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


@cache
def stylesheet() -> bytes:
    """Return the stylesheet."""
    return (files("exporter.pages") / "static" / "pages.css").read_bytes()


@cache
def stylesheet_version() -> str:
    """Return a name that changes with the stylesheet, so that browsers may keep it."""
    return hashlib.sha256(stylesheet()).hexdigest()[:12]


def html(template: str, **values: Any) -> bytes:
    """Return a page."""
    return _environment().get_template(template).render(values).encode(errors="replace")


def as_json(view: Overview | TicketView | dict[str, str]) -> bytes:
    """Return a view model as JSON; its keys are the fields' names."""
    body = view if isinstance(view, dict) else asdict(view)
    # A browser that takes it for HTML after all must find no markup in it.
    return json.dumps(body, separators=(",", ":")).translate(_MARKUP).encode()


@cache
def _environment() -> Environment:
    """Build the environment on first use: a process that only serves metrics never needs it."""
    import jinja2  # noqa: PLC0415  costs a tenth of a fast start

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("exporter.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": words.duration,
        "age": words.age,
        "brief": text.brief,
        "when": words.when,
        "iso": words.iso,
        "share": words.share,
        "fault_words": words.fault,
        "style": figures.style,
        "segments": figures.segments,
    }
    environment.globals |= {
        "count": words.count,
        "link": query.link,
        "columns": figures.columns,
        "mark": figures.mark,
        "spans": figures.spans,
        "plot_height": figures.PLOT_HEIGHT,
        "stylesheet_version": stylesheet_version(),
    }
    return environment
