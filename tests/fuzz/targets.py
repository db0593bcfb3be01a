"""
What is fuzzed: each target takes any bytes and raises when something holds no more that always must.

Hypothesis drives them in the tests, atheris by ``make fuzz``; ``corpus`` holds the cases that once failed, and those
that lead atheris to every branch it has found.
"""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

from faults.readings import Exposition

from exporter import config, families, reasons
from exporter.api import Statuses, wire
from exporter.api.decode import decode
from exporter.api.interpret import LOG_TAIL, LONGEST_TEXT, Interpreter
from exporter.errors import Malformed
from exporter.exposition import Encoding, Format, write
from exporter.families import Options
from exporter.server import WebConfigError
from exporter.server.negotiation import content_type, negotiated
from exporter.server.web_config import parse
from exporter.snapshot import AccountState, Batch, Reading, Snapshot, Statistics, Ticket, Watch
from exporter.telemetry import Telemetry

CORPUS = Path(__file__).parent / "corpus"
KINDS = (wire.BatchPageAnswer, wire.BatchesAnswer, wire.StatisticsAnswer, wire.TicketAnswer, wire.OrdersAnswer)
_READ = ("batch_page", None, "statistics", "ticket", "orders")
_ROWS = {"batch_page": "execute_instances", "orders": "data"}
_TYPES = {
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text; version=0.0.1; charset=utf-8",
    *(
        f"{kind}; version=1.0.0; charset=utf-8; escaping={escaping}"
        for kind in ("text/plain", "application/openmetrics-text")
        for escaping in ("underscores", "allow-utf-8", "dots", "values")
    ),
}


def api_answer(data: bytes) -> None:
    """Any body is read whole or refused, and what is made of it is a parseable exposition."""
    choice, body = data[:1] or b"\0", data[1:]
    number = choice[0] % len(KINDS)
    telemetry = Telemetry(process=False)
    try:
        answer = decode(body, KINDS[number], "fuzz", telemetry)
    except Malformed:
        return
    reader = Interpreter(Statuses(), telemetry, lambda _log: "other", keep_logs=True)
    name = _READ[number]
    if name is None:
        assert all(row.batch_index >= 0 for row in answer.data)
        return
    made = getattr(reader, name)(answer.data)
    if name in _ROWS:
        assert len(made.items) == _stated_rows(body, _ROWS[name]) - _refused(telemetry)
    if name == "orders":
        assert all(len(order.name) <= LONGEST_TEXT for order in made.items)
        return
    ticket = Ticket("SCT", "PROCESSING")
    if name == "batch_page":
        rows = {item.id: item for item in made.items}
        assert all(len(row.log_tail.encode()) <= LOG_TAIL for row in rows.values())
        ticket = Ticket("SCT", "PROCESSING", batches=(Batch.of(1, made.total, tuple(rows.values())),))
    elif name == "statistics":
        assert isinstance(made, Statistics)
        ticket = Ticket("SCT", "PROCESSING", statistics=made)
    else:
        ticket = made
    _expose(ticket, telemetry)


def _stated_rows(body: bytes, key: str) -> int:
    """Return how many records the answer held: each is read, or refused and counted."""
    rows = json.loads(body.decode(errors="replace"), parse_int=str)["data"].get(key)
    return len(rows) if isinstance(rows, list) else 0


def _refused(telemetry: Telemetry) -> float:
    counted = telemetry.registry.get_sample_value("coc_exporter_dropped_records_total", {"reason": "malformed_record"})
    return counted or 0.0


def _expose(ticket: Ticket, telemetry: Telemetry) -> None:
    reading = Reading(Watch("prod", "SCT"), ticket, None, 1.0, 1.0, 1.0)
    snapshot = Snapshot((AccountState("prod", polled=1.0),), (reading,))
    shown = [family(snapshot, Options()) for family in (*families.OF_TICKETS, *families.OF_ALL)]
    shown += telemetry.registry.collect()
    Exposition(write(shown, Format.TEXT).decode())
    Exposition(write(shown, Format.OPENMETRICS).decode() + "# EOF\n", Format.OPENMETRICS)


def config_text(data: bytes) -> None:
    """Any text is a config, which can be shown, or a list of faults, each in one line."""
    try:
        loaded = config.parse(data.decode("utf-8", "replace"), environ={"E": "x"}, check_pattern=reasons.fault)
    except config.ConfigError:
        return
    config.dump(loaded)


def accept(data: bytes) -> None:
    """Any two headers get one of the few answers that we know."""
    wanted, _, encoding = data.partition(b"\n")
    choice = negotiated(wanted, encoding)
    assert content_type(choice) in _TYPES
    assert choice.encoding in Encoding


def web_config(data: bytes) -> None:
    """Any file is a web config or a list of faults."""
    try:
        parse(data.decode("utf-8", "replace"), "web.yaml", Path("/nonexistent"))
    except WebConfigError:
        return


def failure_pattern(data: bytes) -> None:
    """Any pattern is refused or finds its reason in any log, in time that grows with the log alone."""
    pattern, _, text = data.decode("utf-8", "replace").partition("\n")
    if reasons.fault(pattern) is None:
        rules = [reasons.Rule("own", pattern)]
        known = {"own", "other", *(name for name, _ in reasons.DEFAULTS)}
        assert reasons.Reasons(rules).of(text) in known
        reasons.shadowed([*rules, *rules])


TARGETS = {target.__name__: target for target in (api_answer, config_text, accept, web_config, failure_pattern)}


def spoilt(seed: int, number: int) -> bytes:
    """Return a whole answer of the given kind in which a few values are replaced by nonsense."""
    chance = random.Random(seed)  # noqa: S311  no secret is made of it
    answer = deepcopy({"data": ANSWERS[number]})
    for _ in range(chance.randint(0, 4)):
        place = chance.choice(list(_places(answer)))
        place.holder[place.key] = deepcopy(chance.choice(NONSENSE))
    return bytes([number]) + json.dumps(answer).encode()


def _places(value):
    """Yield every place in a document where something else could stand."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield SimpleNamespace(holder=value, key=key)
        yield from _places(inner)


NONSENSE = (
    *(None, True, False, 0, -1, 1.5, 1e400, float("nan"), 2**31, 2**63, 10**40, -(2**63) - 1, "", "x" * 300, "\ud800"),
    *(
        "ABNORMAL",
        "\x00",
        'a\nb"\\',
        "# HELP x",
        [],
        {},
        [None],
        {"x": []},
        [[[[]]]],
        "ROLLED BACK",
        253_402_300_800_000,
    ),
)
_INSTANCE = {
    "id": 1,
    "status": "ABNORMAL",
    "gmt_created": 1,
    "gmt_finished": 9,
    "execute_costs": 8,
    "message": "m",
    "cmd_uuid": "c",
    "target_instance": {"resource_id": "r", "properties": {"host_name": "h", "fixed_ip": "1", "application": "a"}},
}
_PROPERTIES = {
    "script_name": "s",
    "current_execute_batch_index": 1,
    "execute_param": {"timeout": 300, "success_rate": 100.0},
}
ANSWERS = (
    {"batch_index": 1, "total_instances": 2, "execute_instances": [_INSTANCE, _INSTANCE | {"id": 2}]},
    [{"batch_index": 1, "total_instances": 2, "rotation_strategy": "CONTINUE"}],
    {
        "total_instance": 2,
        "execute_statistics": [{"instance_status": "READY", "instance_count": 2, "batch_indexes": [1]}],
    },
    {"execute_uuid": "SCT", "status": "FINISHED", "gmt_created": 1, "creator": "c", "properties": _PROPERTIES},
    {"total": 1, "data": [{"order_id": 1, "execute_uuid": "SCT", "status": "READY", "order_name": "n"}]},
)
"""The data of a whole answer of each of ``KINDS``."""


def kept_cases() -> list[tuple[str, bytes]]:
    """Return the cases of the corpus, each with its target."""
    return [(name, path.read_bytes()) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]
