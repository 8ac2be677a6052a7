"""Database connections that die silently, as when a firewall forgets them."""

from __future__ import annotations

import os
import signal
import time

import pytest
from django.db import connection, connections

from brevo_events import track
from brevo_events.engines.thread import ThreadEngine
from brevo_events.models import OutboxEvent, Status
from tests import worker as process
from tests.proxy import Proxy
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connections that could die"),
]

LEASE = 6  # seconds, with a TIMEOUT of half a second


@pytest.fixture
def proxy(fake_brevo, settings):
    settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 0.5}
    with Proxy(connection.settings_dict["HOST"], connection.settings_dict["PORT"]) as proxy:
        yield proxy


def is_sent(event):
    return lambda: OutboxEvent.objects.get(pk=event.pk).status == Status.SENT


class ThreadEngineTests:
    @pytest.fixture
    def engine(self, proxy, monkeypatch):
        monkeypatch.setattr("brevo_events.engines.background.is_testing", lambda: False)
        connection.ensure_connection()
        monkeypatch.setitem(connections.settings["default"], "PORT", proxy.port)
        engine = ThreadEngine()
        yield engine
        engine.finish()

    def test_goes_on_with_a_new_thread_after_a_request(self, engine, proxy, fake_brevo, caplog):
        first = track("a", "a@example.com")
        engine.nudge()
        wait_until(is_sent(first))
        hanging = engine._thread
        proxy.swallow()
        second = track("b", "b@example.com")
        engine.nudge()
        began = time.monotonic()

        wait_until(lambda: engine.start() or is_sent(second)(), timeout=LEASE + 10)

        assert time.monotonic() - began > LEASE - 1
        assert "The delivery thread hangs" in caplog.text
        proxy.__exit__()
        wait_until(lambda: not hanging.is_alive())
        assert [body["event"] for body in fake_brevo.events] == ["a", "b"]

    def test_does_not_take_a_sleeping_thread_for_a_hanging_one(self, engine, monkeypatch):
        monkeypatch.setattr("brevo_events.worker.lease_seconds", lambda: 0.5)
        engine.start()
        runner = engine._thread
        time.sleep(1.5)

        engine.start()

        assert engine._thread is runner

    def test_is_not_waited_for_at_the_end_of_the_process(self, engine, proxy, monkeypatch):
        monkeypatch.setattr("brevo_events.worker.lease_seconds", lambda: 0.5)
        first = track("a", "a@example.com")
        engine.nudge()
        wait_until(is_sent(first))
        proxy.swallow()
        engine.nudge()
        time.sleep(1)
        began = time.monotonic()

        engine.finish()

        assert time.monotonic() - began < 1


class CommandTests:
    @pytest.fixture
    def hanging(self, proxy, settings, monkeypatch):
        """A worker whose connection has just died."""
        database = connection.settings_dict
        url = os.environ["TEST_DATABASE_URL"].replace(f":{database['PORT']}/", f":{proxy.port}/")
        monkeypatch.setenv("TEST_DATABASE_URL", url)
        first = track("a", "a@example.com")
        started = process.start(database["NAME"], settings.BREVO_EVENTS, "send_brevo_events", "--loop")
        try:
            wait_until(is_sent(first))
            proxy.swallow()
            yield started
        finally:
            started.kill()
            started.wait()

    def test_ends_with_an_error_so_that_it_is_started_anew(self, hanging):
        assert hanging.wait(LEASE + 10) == 3

    def test_ends_in_time_after_a_signal(self, hanging):
        hanging.send_signal(signal.SIGTERM)

        assert hanging.wait(LEASE - 1) == 3

    def test_hears_a_signal_and_a_second_one_at_once(self, hanging):
        time.sleep(2)
        hanging.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert hanging.poll() is None

        hanging.send_signal(signal.SIGTERM)

        assert hanging.wait(1) in (-signal.SIGTERM, 128 + signal.SIGTERM)
