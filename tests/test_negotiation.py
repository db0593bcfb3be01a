"""Negotiation: header bytes in, a choice out, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.exposition import Encoding, Format
from exporter.server.negotiation import content_type, negotiated

TEXT_004 = "text/plain; version=0.0.4; charset=utf-8"
TEXT_100 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OM_001 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
OM_100 = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="

PROMETHEUS_3 = (
    b"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    b"application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    b"text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_PROTOBUF = (
    b"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
) + PROMETHEUS_3
PROMETHEUS_2 = (
    b"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    b"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
TWICE = (
    b"application/openmetrics-text;version=1.0.0;escaping=dots;q=0.3,"
    b"application/openmetrics-text;version=1.0.0;escaping=values;q=0.9"
)
BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

ACCEPTS = {
    "nothing asked": (b"", TEXT_004),
    "anything": (b"*/*", TEXT_004),
    "a browser": (BROWSER, TEXT_004),
    "Prometheus 2": (PROMETHEUS_2, OM_100 + "underscores"),
    "Prometheus 3": (PROMETHEUS_3, OM_100 + "allow-utf-8"),
    "Prometheus 3 with protobuf first": (PROMETHEUS_3_PROTOBUF, OM_100 + "allow-utf-8"),
    "text without a version": (b"text/plain", TEXT_004),
    "text 1.0.0": (b"text/plain;version=1.0.0", TEXT_100 + "underscores"),
    "any text": (b"text/*", TEXT_004),
    "any application": (b"application/*", OM_100 + "underscores"),
    "OpenMetrics without a version": (b"application/openmetrics-text", OM_100 + "underscores"),
    "OpenMetrics 0.0.1": (b"application/openmetrics-text;version=0.0.1", OM_001),
    "OpenMetrics 0.0.1 knows no escaping": (b"application/openmetrics-text;version=0.0.1;escaping=dots", OM_001),
    "OpenMetrics 2.0.0 gets 1.0.0": (b"application/openmetrics-text; version=2.0.0", OM_100 + "underscores"),
    "an unknown version is not echoed": (b"application/openmetrics-text;version=99.0", TEXT_004),
    "a version that is none": (b"application/openmetrics-text;version=abc", TEXT_004),
    "a quoted version": (b'application/openmetrics-text; version="1.0.0"', OM_100 + "underscores"),
    "capitals and spaces": (b"Application/OpenMetrics-Text ; Version=1.0.0 ; Q=1", OM_100 + "underscores"),
    "the highest quality wins": (b"text/plain;q=0.3, application/openmetrics-text;q=0.7", OM_100 + "underscores"),
    "ties follow the header": (b"text/plain;version=1.0.0,application/openmetrics-text", TEXT_100 + "underscores"),
    "ties follow the header, other way round": (b"application/openmetrics-text,text/plain", OM_100 + "underscores"),
    "a wildcard of higher quality": (b"*/*, application/openmetrics-text;q=0.5", TEXT_004),
    "q=0 excludes": (b"text/plain;q=0, */*", OM_100 + "underscores"),
    "q=0 of one version": (b"text/plain;version=0.0.4;q=0.000, text/*", TEXT_100 + "underscores"),
    "everything excluded": (b"*/*;q=0", TEXT_004),
    "a wildcard excludes what is not named": (b"*/*;q=0, text/plain;version=1.0.0", TEXT_100 + "underscores"),
    "the better of two equal ranges": (TWICE, OM_100 + "values"),
    "a version tells more than its type": (
        b"text/plain;q=0.9, text/plain;version=0.0.4;q=0.1, application/openmetrics-text;q=0.5",
        TEXT_100 + "underscores",
    ),
    "a type tells more than a range of types": (
        b"text/*;q=0.9, text/plain;q=0.1, application/openmetrics-text;q=0.5",
        OM_100 + "underscores",
    ),
    "a range of types tells more than anything": (
        b"*/*;q=0.9, text/*;q=0.1, application/openmetrics-text;q=0.5",
        OM_100 + "underscores",
    ),
    "a quality with two values is none": (b"application/openmetrics-text;q=0=1", TEXT_004),
    "escaping underscores": (b"text/plain;version=1.0.0;escaping=underscores", TEXT_100 + "underscores"),
    "escaping dots": (b"text/plain;version=1.0.0;escaping=dots", TEXT_100 + "dots"),
    "escaping values": (b"text/plain;version=1.0.0;escaping=values", TEXT_100 + "values"),
    "escaping allow-utf-8": (b"text/plain;version=1.0.0;escaping=allow-utf-8", TEXT_100 + "allow-utf-8"),
    "unknown escaping": (b"text/plain;version=1.0.0;escaping=evil%0d%0a", TEXT_100 + "underscores"),
    "a quality that is none": (b"application/openmetrics-text;q=high", TEXT_004),
    "a quality above 1": (b"application/openmetrics-text;q=1.5", TEXT_004),
    "a negative quality": (b"application/openmetrics-text;q=-1", TEXT_004),
    "one bad element spoils only itself": (b"text/plain;q=nan, application/openmetrics-text", OM_100 + "underscores"),
    "a comma within quotes": (b'text/plain;x="a,application/openmetrics-text"', TEXT_004),
    "a quote without end": (b'text/plain;x="a,application/openmetrics-text', TEXT_004),
    "no UTF-8": (b"application/openmetrics-text;x=\xff", TEXT_004),
    "separators only": (b";;;,,,;,", TEXT_004),
    "unknown types": (b"image/png, application/json", TEXT_004),
}


@pytest.mark.parametrize(("accept", "expected"), ACCEPTS.values(), ids=ACCEPTS)
def test_accept(accept: bytes, expected: str) -> None:
    choice = negotiated(accept, b"")
    assert content_type(choice) == expected
    assert (choice.format is Format.OPENMETRICS) == expected.startswith("application")


ENCODINGS = {
    "nothing asked": (b"", Encoding.IDENTITY),
    "gzip": (b"gzip", Encoding.GZIP),
    "x-gzip": (b"x-gzip", Encoding.GZIP),
    "among others": (b"br, deflate, gzip;q=0.3", Encoding.GZIP),
    "anything": (b"*", Encoding.GZIP),
    "capitals": (b"GZIP", Encoding.GZIP),
    "gzip excluded": (b"gzip;q=0", Encoding.IDENTITY),
    "gzip excluded from anything": (b"*, gzip;q=0", Encoding.IDENTITY),
    "identity preferred": (b"identity, gzip;q=0.5", Encoding.IDENTITY),
    "identity less": (b"identity;q=0.5, gzip", Encoding.GZIP),
    "identity no more than gzip": (b"identity, gzip", Encoding.GZIP),
    "the better of two names of gzip": (b"gzip, x-gzip;q=0", Encoding.GZIP),
    "another only": (b"br, zstd", Encoding.IDENTITY),
    "malformed": (b"gzip;q=much", Encoding.IDENTITY),
    "no UTF-8": (b"gzip\xff", Encoding.IDENTITY),
}


@pytest.mark.parametrize(("accept_encoding", "expected"), ENCODINGS.values(), ids=ENCODINGS)
def test_accept_encoding(accept_encoding: bytes, expected: Encoding) -> None:
    assert negotiated(b"", accept_encoding).encoding is expected


TYPES = (b"text/plain", b"application/openmetrics-text", b"*/*", b"text/*", b"gzip", b"identity", b"*")
MARKS = (
    b";",
    b",",
    b"=",
    b'"',
    b" ",
    b"\xff",
    b"\\",
    b"q=0",
    b"q=1",
    b"version=",
    b"1.0.0",
    b"0.0.1",
    b"escaping=dots",
)
PIECES = st.sampled_from(TYPES + MARKS)
HEADERS = st.binary(max_size=80) | st.lists(PIECES, max_size=20).map(b"".join)
CLOSED = {TEXT_004, OM_001} | {
    kind + escaping for kind in (TEXT_100, OM_100) for escaping in ("underscores", "allow-utf-8", "dots", "values")
}


@given(HEADERS, HEADERS)
@example(b"\x00", b"\xff\xfe")
def test_any_bytes_get_an_answer_of_the_closed_list(accept: bytes, accept_encoding: bytes) -> None:
    choice = negotiated(accept, accept_encoding)
    assert content_type(choice) in CLOSED


def test_a_long_hostile_header_is_read_in_no_time() -> None:
    """Nothing in the reading is quadratic: sixteen KiB of quotes are over before the test's own patience."""
    for hostile in (b'"' * 16384, b'",' * 8192, b'a;"' * 5000, b"," * 16384, b";q=" * 5000):
        assert content_type(negotiated(hostile, hostile)) == TEXT_004
