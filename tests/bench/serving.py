"""
Web servers that hand out one exposition: ours, the bare ASGI server, prometheus_client at every scrape, and nginx.

``python -m bench.serving KIND ...`` prints its URL and serves until killed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.sides import cpu, resident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

_NGINX = """
daemon off;
master_process on;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type text/plain;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Serve a folder's files by an nginx of our own; yield its URL. Raise FileNotFoundError where there is none."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError("nginx is not installed (apt-get install nginx-light)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    # Its workers are another user where it is started by root.
    folder.chmod(0o755)
    config.write_text(_NGINX.format(folder=folder, port=port))
    process = subprocess.Popen([found, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("nginx does not listen")


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    return listener


def _uvicorn(app: Any) -> None:
    import uvicorn  # noqa: PLC0415  this server alone needs it

    listener = _listener()
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")).run([listener])


def bare(asked: argparse.Namespace) -> None:
    """Serve a file's bytes at every path."""
    body = asked.file.read_bytes()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    _uvicorn(app)


def generate(asked: argparse.Namespace) -> None:
    """Serve the same families by prometheus_client's own server, which writes them at every scrape."""
    from prometheus_client import CollectorRegistry, start_wsgi_server  # noqa: PLC0415  this server alone needs it

    from bench import worlds  # noqa: PLC0415  likewise
    from exporter import families  # noqa: PLC0415  likewise

    known, options = worlds.snapshot(asked.tickets), families.Options()

    class Collector:
        def collect(self) -> Iterator[Any]:
            for family in (*families.OF_TICKETS, *families.OF_ALL):
                yield family(known, options)

    registry = CollectorRegistry()
    registry.register(Collector())
    server, thread = start_wsgi_server(0, "127.0.0.1", registry)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    thread.join()


def ours(asked: argparse.Namespace) -> None:
    """Serve by our server: a snapshot made up, or with ``--api`` an exporter that polls on ``/bench/poll``."""
    asyncio.run(_ours(asked))


async def _ours(asked: argparse.Namespace) -> None:
    from starlette.responses import JSONResponse  # noqa: PLC0415  this server alone needs it
    from starlette.routing import Route  # noqa: PLC0415  likewise

    from bench.polled import Polled  # noqa: PLC0415  likewise
    from exporter import pauses  # noqa: PLC0415  likewise
    from exporter.server import Site, build, serve  # noqa: PLC0415  likewise

    polled = Polled(asked.api, asked.tickets)

    under_way: list[Future[Any]] = []
    # As the exporter does: polls have an event loop of their own.
    beside = asyncio.new_event_loop()
    threading.Thread(target=beside.run_forever, daemon=True).start()

    # Asked for and fetched by two requests: the server does not wait for an answer as long as a poll may last.
    async def poll(request: Any) -> JSONResponse:
        polling = polled.poll(full=request.query_params.get("full") == "1")
        under_way.append(asyncio.run_coroutine_threadsafe(polling, beside))
        return JSONResponse({})

    async def told(_request: Any) -> JSONResponse:
        return JSONResponse(under_way[-1].result() if under_way[-1].done() else None)

    async def now(_request: Any) -> JSONResponse:
        return JSONResponse({"cpu": cpu(), "resident": resident()})

    async def reload() -> None:
        pass

    site = Site(
        board=polled.board,
        ready=lambda: True,
        reload=reload,
        config_text=str,
        pages=[Route("/bench/poll", poll), Route("/bench/told", told), Route("/bench/now", now)],
    )
    await polled.prepare()
    sockets = [_listener()]
    sys.stdout.flush()
    pauses.shorten()
    await serve(build(site), sockets, web_config=None, stop=asyncio.Event())


def main() -> None:
    """Serve until killed."""
    command = argparse.ArgumentParser()
    command.add_argument("kind", choices=("ours", "bare", "generate"))
    command.add_argument("--tickets", type=int, default=1000)
    command.add_argument("--file", type=Path)
    command.add_argument("--api", default="")
    asked = command.parse_args()
    {"ours": ours, "bare": bare, "generate": generate}[asked.kind](asked)


if __name__ == "__main__":
    main()
