"""The client of a scrape benchmark: plain sockets, nothing of a body kept, in a process of its own."""

from __future__ import annotations

import math
import socket
import threading
import time
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.sides import Figures

_BUFFER = 1024 * 1024


class Scraper:
    """One connection that is kept."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        at = urlsplit(url)
        self._socket = socket.create_connection((at.hostname, at.port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"GET {at.path or '/'} HTTP/1.1", f"Host: {at.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._buffer = memoryview(bytearray(_BUFFER))

    def scrape(self) -> int:
        """Ask once; return the bytes of the body."""
        self._socket.sendall(self._request)
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += self._received()
        status, *fields = head[:end].decode("latin-1").split("\r\n")
        if " 200 " not in status:
            raise RuntimeError(f"the server answered {status}")
        length = next(int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length"))
        left = length - (len(head) - end - 4)
        while left > 0:
            left -= self._socket.recv_into(self._buffer)
        return length

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the server hung up")
        return data

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def rate(urls: Mapping[str, str], headers: Mapping[str, str], seconds: float, connections: int) -> Iterator[Figures]:
    """Scrape each URL in turn as fast as it goes, over so many connections; yield requests a second by name."""
    yield {}
    names = list(urls)
    for turn in range(1_000_000):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        yield {name: _per_second(urls[name], headers, seconds, connections) for name in order}


def _per_second(url: str, headers: Mapping[str, str], seconds: float, connections: int) -> float:
    scrapers = [Scraper(url, headers) for _ in range(connections)]
    for scraper in scrapers:
        scraper.scrape()
    done = [0] * connections
    began = time.perf_counter()

    def work(number: int) -> None:
        while time.perf_counter() - began < seconds:
            scrapers[number].scrape()
            done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    for scraper in scrapers:
        scraper.close()
    return sum(done) / spent


def latency(url: str, headers: Mapping[str, str], seconds: float, pause: float) -> Iterator[Figures]:
    """Scrape one URL every so often for so long; yield the latencies in seconds, and their quantiles."""
    yield {}
    while True:
        scraper = Scraper(url, headers)
        scraper.scrape()
        told = []
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            scraper.scrape()
            told.append(time.perf_counter() - asked)
            time.sleep(pause)
        scraper.close()
        yield quantiles(told) | {"all": told}


def quantiles(told: list[float]) -> Figures:
    """Return the median, the 99th percentile and the largest of some durations."""
    ordered = sorted(told)
    high = ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.99) - 1)]
    return {"p50": median(ordered), "p99": high, "max": ordered[-1], "count": len(ordered)}
