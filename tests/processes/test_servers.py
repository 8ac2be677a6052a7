"""Servers that end in the middle of a delivery: nothing stays leased, and nothing is sent twice."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter

import pytest

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY
from tests.serving import answers, environment, serving, statuses
from tests.waiting import wait_until

EVENTS = 100
CAPTURE = f"""
from brevo_events import Event, track_many
track_many([Event("captured", f"{{number}}@example.com") for number in range({EVENTS})])
"""
QUEUE = "from tests.celery_app import capture; [capture.delay(number) for number in range(60)]"

ASGI, WSGI = "tests.asgi_app:application", "project.wsgi:application"
SERVERS = {
    "uvicorn": ["uvicorn", "--port={port}", "--log-level=error", ASGI],
    "uvicorn_worker": ["gunicorn", "--workers=2", "-k", "uvicorn_worker.UvicornWorker", "-b127.0.0.1:{port}", ASGI],
    "hypercorn": ["hypercorn", "--workers=2", "--bind=127.0.0.1:{port}", ASGI],
    "gunicorn": ["gunicorn", "--workers=2", "--bind=127.0.0.1:{port}", WSGI],
}


@pytest.fixture
def brevo():
    with FakeBrevo(ma_key=KEY, latency=0.3) as brevo:
        yield brevo


@pytest.fixture
def database(tmp_path):
    return tmp_path / "shop.sqlite3"


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def run(environment, *arguments):
    subprocess.run([sys.executable, *arguments], env=environment, check=True)


def sent_to(brevo):
    return Counter(request.json["email"] for request in brevo.requests)


class ServerTests:
    @pytest.mark.parametrize("server", SERVERS)
    def test_ends_without_leaving_or_doubling_an_event(self, server, brevo, database):
        need(server, SERVERS[server][0])
        shop = environment(database, brevo)
        run({**shop, "BREVO_EVENTS_ENGINE": "worker"}, "-m", "django", "shell", "-v0", "-c", CAPTURE)

        with serving(shop, *SERVERS[server]):
            brevo.wait_for(32, timeout=20)
        left = statuses(database)
        with serving(shop, *SERVERS[server]) as (address, _process):
            wait_until(lambda: answers(address) and statuses(database) == {"sent": EVENTS}, timeout=15)

        assert set(left) == {"sent", "pending"}
        assert len(sent_to(brevo)) == EVENTS
        assert set(sent_to(brevo).values()) == {1}


class CeleryTests:
    def test_processes_that_are_recycled_double_no_event(self, brevo, database, tmp_path):
        need("celery")
        shop = environment(database, brevo, TEST_CELERY_FOLDER=str(tmp_path))
        run(shop, "-c", QUEUE)
        options = ["--concurrency=2", "--max-tasks-per-child=5", "--loglevel=ERROR", "--quiet"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.celery_app", *options[-1:], "worker", *options[:-1]], env=shop
        )
        try:
            wait_until(lambda: statuses(database).total() == 60, timeout=60)
        finally:
            worker.terminate()
            worker.wait(30)

        assert statuses(database) == {"sent": 60}
        assert set(sent_to(brevo).values()) == {1}
