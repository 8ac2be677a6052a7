"""An outage is one log line of level ERROR: not one for each event or attempt."""

from __future__ import annotations

import logging
import socket

import pytest
from django.db import InterfaceError, OperationalError, connection, connections

from brevo_events import Event, delivery, track, track_many
from brevo_events.choices import Status
from brevo_events.engines.inline import InlineEngine
from brevo_events.engines.thread import ThreadEngine
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.testing import Reply
from brevo_events.transports import Transport
from brevo_events.worker import Worker
from tests.proxy import Proxy
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 500
TRIES = 5  # that the outage must have been met with before the lines are counted


class RaisingTransport(Transport):
    def send(self, body, call="trackEvent"):
        raise ConnectionError("It should return this.")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Let everything that waits in an outage wait briefly, so that there are many tries."""
    monkeypatch.setattr(Gate, "FIRST_COOLDOWN", 0.1)
    monkeypatch.setattr(Gate, "MAX_COOLDOWN", 0.1)
    monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.1)
    monkeypatch.setattr("brevo_events.worker.SETTING_PAUSE", 0.1)
    monkeypatch.setattr("brevo_events.engines.runner.LOOK_AGAIN", 0.1)
    monkeypatch.setattr("brevo_events.engines.runner.LONGEST_NAP", 0.1)
    monkeypatch.setattr("brevo_events.engines.background.is_testing", lambda: False)


@pytest.fixture(params=["worker", "thread"])
def sender(request, fake_brevo, in_thread):
    """A function that starts what sends; it ends with the test."""
    started = []

    def start():
        if request.param == "thread":
            started.append(ThreadEngine())
            started[0].start()
        else:
            started.append(Worker())
            in_thread(started[0].run)

    yield start
    for each in started:
        each.finish() if request.param == "thread" else each.stop()


@pytest.fixture
def tries(monkeypatch):
    """A list of the errors of the database that a worker has met."""
    met, real = [], Worker._reconnect_after
    monkeypatch.setattr(Worker, "_reconnect_after", lambda worker, error: met.append(error) or real(worker, error))
    return met


def configure(settings, **more):
    settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, **more}


def capture():
    track_many([Event("cart_updated", f"{number}@example.com") for number in range(EVENTS)])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def are_all_sent():
    return OutboxEvent.objects.filter(status=Status.SENT).count() == EVENTS


def errors(caplog):
    """The lines of level ERROR and above that are ours."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR and record.name.startswith("brevo_events")
    ]


def was_probed(count=TRIES):
    """Whether so many requests were made after those that closed the gate."""
    gate = Gate.load()
    closed_at = gate.closed_at
    return closed_at and SendAttempt.objects.filter(started_at__gt=closed_at).count() >= count


class BrevoTests:
    @pytest.mark.parametrize(
        "reply", [Reply.error(503, "unavailable"), Reply.reset(), Reply.too_many(retry_after=0)], ids=str
    )
    def test_that_is_down_is_one_error(self, sender, fake_brevo, caplog, reply):
        fake_brevo.always(reply)
        capture()

        sender()
        wait_until(was_probed)

        (line,) = errors(caplog)
        assert line.startswith("Delivery is on hold: ")

    def test_that_refuses_connections_is_one_error(self, sender, settings, caplog):
        configure(settings, URL=f"http://127.0.0.1:{free_port()}/api/v2/trackEvent")
        capture()

        sender()
        wait_until(was_probed)

        assert errors(caplog) == ["Delivery is on hold: Brevo does not answer."]

    def test_that_refuses_the_key_is_one_error(self, sender, settings, caplog):
        configure(settings, MA_KEY="x" * 24)
        capture()

        sender()
        wait_until(was_probed)

        (line,) = errors(caplog)
        assert line.endswith("(401).")

    def test_a_transport_that_raises_is_one_error_too(self, sender, settings, caplog):
        configure(settings, TRANSPORT="tests.database.test_outage_log.RaisingTransport")
        capture()

        sender()
        wait_until(was_probed)

        assert len(errors(caplog)) == 1

    def test_two_outages_are_two_errors(self, sender, fake_brevo, caplog):
        fake_brevo.always(Reply.error(503, "unavailable"))
        capture()
        sender()
        wait_until(was_probed)
        fake_brevo.always(None)
        wait_until(lambda: not Gate.load().is_closed)
        fake_brevo.always(Reply.error(401, "unauthorized"))
        track("order_completed", "ada@example.com")

        wait_until(lambda: len(errors(caplog)) == 2)


class KeyTests:
    def test_that_is_missing_is_one_error(self, sender, settings, caplog, monkeypatch):
        asked, real = [], Worker.work
        monkeypatch.setattr(Worker, "work", lambda worker: asked.append(1) or real(worker))
        configure(settings, MA_KEY="")
        capture()

        sender()
        wait_until(lambda: len(asked) >= TRIES)

        (line,) = errors(caplog)
        assert line.startswith("BREVO_EVENTS['MA_KEY'] is not set")

    def test_that_is_missing_is_one_error_of_the_engine_inline(self, fake_brevo, settings, caplog, monkeypatch):
        monkeypatch.setattr("brevo_events.engines.inline.is_testing", lambda: False)
        configure(settings, MA_KEY="")
        engine = InlineEngine()

        for number in range(TRIES):
            track("cart_updated", f"{number}@example.com")
            engine.nudge()

        (line,) = errors(caplog)
        assert line.startswith("Nothing was sent. BREVO_EVENTS['MA_KEY'] is not set")


class DatabaseTests:
    def test_that_fails_in_several_ways_is_one_error(self, sender, caplog, monkeypatch, tries):
        real = delivery.claim
        told = [OperationalError("closed unexpectedly"), InterfaceError("already closed"), OperationalError("starting")]
        left = iter(2 * told)

        def fail_at_first(*arguments, **options):
            if error := next(left, None):
                raise error
            return real(*arguments, **options)

        monkeypatch.setattr("brevo_events.delivery.pipeline.claim", fail_at_first)
        capture()

        sender()
        wait_until(are_all_sent)

        assert len(tries) >= 6
        assert errors(caplog) == ["Retrying the database after OperationalError: closed unexpectedly"]

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could go away")
    def test_that_goes_away_and_comes_back_is_one_error(self, sender, fake_brevo, caplog, monkeypatch, tries):
        fake_brevo.always(Reply(204, delay=0.05))
        capture()
        with Proxy(connection.settings_dict["HOST"], connection.settings_dict["PORT"]) as proxy:
            monkeypatch.setitem(connections.settings["default"], "PORT", proxy.port)
            sender()
            wait_until(lambda: OutboxEvent.objects.filter(status=Status.SENT).exists())
            proxy.stop()
            wait_until(lambda: len(tries) >= TRIES)
            proxy.listen()
            wait_until(are_all_sent)

            (line,) = errors(caplog)
        assert line.startswith("Retrying the database after ")
