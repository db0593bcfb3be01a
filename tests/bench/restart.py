"""A restart with ``--storage.path``: from the start of the process to a scrape that shows every finished ticket."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from bench import worlds
from bench.report import Row, Section, mebibytes
from bench.sides import environment
from exporter.snapshot import FINAL_STATUSES, Batch, Snapshot
from exporter.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from exporter.snapshot import Instance, Reading

_COMPLETE = 2.0
_HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def run(scale: Scale) -> Section:
    """Measure tickets of one batch and tickets of twenty; each as Prometheus would scrape them."""
    section = Section(f"Restart with {scale.tickets:,} finished tickets on disk, to the end of the first whole scrape")
    for batches in (1, worlds.BATCHES):
        with tempfile.TemporaryDirectory() as folder:
            spent, stored = _restarts(Path(folder), scale, batches)
        note = f"fastest {min(spent):.2f} s, {mebibytes(stored):.0f} MiB on disk"
        section.rows.append(
            Row(f"{batches * worlds.INSTANCES} instances each", median(spent), "s", _COMPLETE, note=note)
        )
        section.raw[str(batches)] = {"spent": spent, "stored": stored}
    return section


def _restarts(folder: Path, scale: Scale, batches: int) -> tuple[list[float], int]:
    """Return how long each restart took, and the bytes of the file."""
    readings = [_ended(reading, batches) for reading in worlds.snapshot(scale.tickets).readings]
    storage = Storage(folder / "tickets.db")
    storage.save(Snapshot(readings=tuple(readings)), {})
    storage.close()
    (folder / "config.yaml").write_text(_config(readings))
    spent = [_restarted(folder, len(readings)) for _ in range(2 if scale.quick else 5)]
    return spent, (folder / "tickets.db").stat().st_size


def _config(readings: list[Reading]) -> str:
    # Nobody listens there: what is shown can only come from the file.
    account = {"name": "bench", "endpoint": "http://127.0.0.1:9", "auth": {"token": {"token": "t"}}}
    tickets = [{"execute_uuid": reading.watch.execute_uuid} for reading in readings]
    return json.dumps({"accounts": [account | {"tickets": tickets}]})


def _ended(reading: Reading, batches: int) -> Reading:
    ended = tuple(_over(batch) for batch in reading.ticket.batches[:batches])
    return replace(reading, ticket=replace(reading.ticket, status="FINISHED", batches=ended))


def _over(batch: Batch) -> Batch:
    return Batch.of(batch.index, batch.stated, [_final(instance) for instance in batch.instances])


def _final(instance: Instance) -> Instance:
    if instance.status in FINAL_STATUSES or instance.status == "ABNORMAL":
        return instance
    return msgspec.structs.replace(instance, status="FINISHED", finished=instance.created + 1, duration=1.0)


def _restarted(folder: Path, tickets: int) -> float:
    flags = [f"--config.file={folder / 'config.yaml'}", f"--storage.path={folder / 'tickets.db'}"]
    command = [sys.executable, "-m", "exporter", "serve", "--web.listen-address=127.0.0.1:0", *flags]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    try:
        address = next(_addresses(process))
        while _scraped(f"http://{address}/metrics") < tickets:
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _addresses(process: subprocess.Popen[str]) -> Iterator[str]:
    for line in process.stdout:
        if 'msg="Listening on"' in line:
            yield line.split("address=")[1].split()[0]
    raise RuntimeError("serve ended before it listened")


def _scraped(url: str) -> int:
    """Scrape once; return how many tickets are shown."""
    with _OPENER.open(urllib.request.Request(url, headers=_HEADERS)) as answer:
        return gzip.decompress(answer.read()).count(b"\ncoc_ticket_up{")
