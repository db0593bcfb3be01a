"""
From what a scraper accepts to what it gets.

Pure: header bytes in, a choice out. Versions and escaping schemes come from closed lists and are never copied
from the request; whatever cannot be understood gets text 0.0.4, which every scraper reads. All our names are
legal in the classic format, so the escaping scheme changes the header and not one byte of the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from exporter.exposition import Encoding, Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text"
_ESCAPINGS = ("underscores", "allow-utf-8", "dots", "values")
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_ELEMENTS = re.compile(r'(?:[^",]|"[^"]*"?)+')
_PARAMETERS = re.compile(r'(?:[^";]|"[^"]*"?)+')


@dataclass(frozen=True, slots=True)
class Choice:
    """What one scraper gets; ``escaping`` is empty where the version knows none."""

    format: Format
    version: str
    escaping: str
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class _Offer:
    """A way to write the exposition, with the versions in a request that it answers."""

    media_type: str
    format: Format
    version: str
    answers: frozenset[str]
    escapes: bool


@dataclass(frozen=True, slots=True)
class _Wish:
    """One element of an Accept header."""

    name: str
    parameters: Mapping[str, str]
    quality: float


@dataclass(frozen=True, slots=True)
class _Match:
    """How well a wish fits an offer; better ones compare greater."""

    quality: float
    place: int
    wish: _Wish


# In the order of our own preference, which decides where a wildcard leaves it to us.
_OFFERS = (
    _Offer(_TEXT, Format.TEXT, "0.0.4", frozenset({"0.0.4"}), escapes=False),
    _Offer(_TEXT, Format.TEXT, "1.0.0", frozenset({"1.0.0"}), escapes=True),
    # Who asks for 2.0.0 reads 1.0.0 as well.
    _Offer(_OPENMETRICS, Format.OPENMETRICS, "1.0.0", frozenset({"1.0.0", "2.0.0"}), escapes=True),
    _Offer(_OPENMETRICS, Format.OPENMETRICS, "0.0.1", frozenset({"0.0.1"}), escapes=False),
)


@lru_cache(maxsize=64)
def negotiated(accept: bytes, accept_encoding: bytes) -> Choice:
    """Choose what to answer to these two headers, as they came over the wire; absent ones are empty."""
    offer, wish = _best_offer(tuple(_wishes(accept)))
    escaping = wish.parameters.get("escaping", "") if wish is not None else ""
    if escaping not in _ESCAPINGS:
        escaping = _ESCAPINGS[0]
    encoding = _best_encoding(accept_encoding)
    return Choice(offer.format, offer.version, escaping if offer.escapes else "", encoding)


def content_type(choice: Choice) -> str:
    """Return the Content-Type that names a choice exactly."""
    media_type = _TEXT if choice.format is Format.TEXT else _OPENMETRICS
    escaping = f"; escaping={choice.escaping}" if choice.escaping else ""
    return f"{media_type}; version={choice.version}; charset=utf-8{escaping}"


def _best_offer(wishes: tuple[_Wish, ...]) -> tuple[_Offer, _Wish | None]:
    best: tuple[_Offer, _Match] | None = None
    for offer in _OFFERS:
        match = _match(offer, wishes)
        if match is None or match.quality == 0:
            continue
        # Equal qualities follow the header's order, and equal places our own.
        if best is None or (match.quality, -match.place) > (best[1].quality, -best[1].place):
            best = (offer, match)
    return (_OFFERS[0], None) if best is None else (best[0], best[1].wish)


def _match(offer: _Offer, wishes: tuple[_Wish, ...]) -> _Match | None:
    """Return the most specific wish for an offer: it alone tells the quality, be it 0."""
    fits = [
        (specificity, wish.quality, -place)
        for place, wish in enumerate(wishes)
        if (specificity := _specificity(offer, wish))
    ]
    if not fits:
        return None
    _, quality, place = max(fits)
    return _Match(quality, -place, wishes[-place])


def _specificity(offer: _Offer, wish: _Wish) -> int:
    """Return how closely a wish names an offer, 0 for not at all."""
    if wish.name == offer.media_type:
        version = wish.parameters.get("version")
        if version is None:
            return 3
        return 4 if version in offer.answers else 0
    if wish.name == offer.media_type.partition("/")[0] + "/*":
        return 2
    return 1 if wish.name == "*/*" else 0


def _best_encoding(accept_encoding: bytes) -> Encoding:
    qualities: dict[str, float] = {}
    for wish in _wishes(accept_encoding):
        name = wish.name.removeprefix("x-")
        qualities[name] = max(wish.quality, qualities.get(name, 0.0))
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    wanted = gzip > 0 and gzip >= qualities.get("identity", 0.0)
    return Encoding.GZIP if wanted else Encoding.IDENTITY


def _wishes(header: bytes) -> Iterator[_Wish]:
    """Yield the elements of a header in its order, without the malformed ones."""
    try:
        text = header.decode("utf-8").lower()
    except UnicodeDecodeError:
        return
    for element in _ELEMENTS.findall(text):
        name, *rest = [part.strip() for part in _PARAMETERS.findall(element)] or [""]
        parameters = dict(_parameter(part) for part in rest)
        quality = parameters.get("q", "1")
        if _QUALITY.fullmatch(quality):
            yield _Wish(name, parameters, float(quality))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')
