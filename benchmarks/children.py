"""Processes that a benchmark starts, and ends by their IDs: a fake Brevo, workers, and a pruner."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

from benchmarks import databases, machine

ROOT = Path(__file__).parent.parent
PATIENCE = 15.0  # seconds


@contextmanager
def fake_brevo(latency: float = 0.0, cpus: set[int] | None = None) -> Iterator[str]:
    """Run a fake Brevo in a separate process, on those CPUs, and yield its URL."""
    port = _free_port()
    arguments = ["-m", "brevo_events.testing.fake_brevo", "--port", str(port), "--latency", str(latency)]
    with _started(arguments, stdout=subprocess.DEVNULL) as process:
        machine.pin(process.pid, cpus or set())
        _wait_for_port(port)
        yield f"http://127.0.0.1:{port}/api/v2/trackEvent"


@contextmanager
def workers(count: int, url: str) -> Iterator[list[int]]:
    """Run that many `send_brevo_events --loop` processes, and yield their IDs when all are ready."""
    given = json.dumps({"default": connections.databases["default"], "brevo_events": {"URL": url}})
    with ExitStack() as stack:
        started = [
            stack.enter_context(_started(["-m", "benchmarks.children", given], stdout=subprocess.PIPE))
            for _ in range(count)
        ]
        for process in started:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("A worker did not start.")
        yield [process.pid for process in started]


@contextmanager
def page(engine: str, url: str) -> Iterator[tuple[str, int]]:
    """Serve the page with that engine on the database of that alias; yield its URL and the worker's process."""
    port = _free_port()
    given = {"default": connections.databases[engine], "brevo_events": {"URL": url, "ENGINE": engine}}
    options = ["--worker-class=gthread", "--threads=4", f"--bind=127.0.0.1:{port}", "--log-level=error"]
    environment = {**os.environ, "BENCHMARK": json.dumps(given)}
    with _started(["-m", "gunicorn", *options, "benchmarks.page:application"], env=environment) as process:
        address = f"http://127.0.0.1:{port}/"
        _wait_for_port(port)
        urllib.request.urlopen(address, timeout=PATIENCE).close()
        yield address, machine.children(process.pid)[0]


@contextmanager
def pruner() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that prunes for as many seconds as each line of its input says, and reports what it has done."""
    given = json.dumps({"default": connections.databases["default"]})
    with _started(
        ["-m", "benchmarks.pruner", given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("The pruner did not start.")
        yield process


def main(given: str) -> None:
    """Run as a worker, and report just before starting."""
    databases.configure(**json.loads(given))
    print("ready", flush=True)
    call_command("send_brevo_events", "--loop")


@contextmanager
def _started(arguments: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for_port(port: int) -> None:
    ends_at = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1])
