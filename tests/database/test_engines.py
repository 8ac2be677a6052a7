from __future__ import annotations

import logging
import sys
import threading

import pytest
from django.db import transaction

from brevo_events import engines, track, track_many
from brevo_events.engines import Engine, complaints, inline
from brevo_events.engines.background import finish_with_celery
from brevo_events.engines.inline import InlineEngine
from brevo_events.events import Event
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import OutboxEvent, Status
from brevo_events.signals import event_sent
from brevo_events.testing import Reply
from brevo_events.transports import locmem


class OwnEngine(Engine):
    pass


NOT_AN_ENGINE = object()


class CurrentTests:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [("inline", InlineEngine), ("worker", Engine), ("tests.database.test_engines.OwnEngine", OwnEngine)],
    )
    def test_is_the_one_that_the_settings_name(self, settings, name, expected):
        settings.BREVO_EVENTS = {"ENGINE": name}

        assert type(engines.current()) is expected

    def test_is_inline_under_test(self, settings):
        settings.BREVO_EVENTS = {}

        assert type(engines.current()) is InlineEngine

    def test_is_kept_so_that_an_engine_can_hold_threads(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "tests.database.test_engines.OwnEngine"}

        assert engines.current() is engines.current()

    @pytest.mark.parametrize(
        "name", ["threat", "", "no.such.Engine", "tests.database.test_engines.Missing", "tests.no.Engine"]
    )
    def test_that_cannot_be_found_is_told_with_what_would_do(self, settings, name):
        settings.BREVO_EVENTS = {"ENGINE": name}

        with pytest.raises(InvalidSetting, match=f"'ENGINE'. is '{name}'") as raised:
            engines.current()

        assert all(known in str(raised.value) for known in engines.ENGINES)

    @pytest.mark.parametrize(
        "name", ["tests.database.test_engines.NOT_AN_ENGINE", "brevo_events.engines.current", "json.loads"]
    )
    def test_must_be_a_subclass_of_engine(self, settings, name):
        settings.BREVO_EVENTS = {"ENGINE": name}

        with pytest.raises(InvalidSetting, match="not a subclass of Engine"):
            engines.current()


class FinishTests:
    def test_ends_every_engine_of_the_process(self, settings, monkeypatch, caplog):
        ended = []
        monkeypatch.setattr(OwnEngine, "finish", lambda engine: ended.append(engine) or 1 / 0)
        settings.BREVO_EVENTS = {"ENGINE": "tests.database.test_engines.OwnEngine"}
        engine = engines.current()
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        engines.current()

        engines.finish()

        assert ended == [engine]
        assert "The engine did not end cleanly" in caplog.text


class CeleryTests:
    def finish_with(self, monkeypatch, signals):
        finished = []
        monkeypatch.setitem(sys.modules, "celery.signals", signals)
        for _ in range(2):
            finish_with_celery(lambda: finished.append(True))
        return finished

    def test_processes_of_its_pool_finish_at_their_end(self, monkeypatch):
        signals = pytest.importorskip("celery.signals")
        # An engine that another test started may have connected its own end already.
        signals.worker_process_shutdown.disconnect(dispatch_uid="brevo_events.engines")
        finished = self.finish_with(monkeypatch, signals)
        try:
            signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
        finally:
            signals.worker_process_shutdown.disconnect(dispatch_uid="brevo_events.engines")

        assert finished == [True]

    def test_is_not_imported_where_it_is_not_used(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "celery", None)  # an import would raise

        assert self.finish_with(monkeypatch, None) == []


@pytest.mark.django_db(transaction=True)
class UnderTestTests:
    @pytest.fixture(autouse=True)
    def _named(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "thread"}

    def test_a_request_starts_no_thread(self, client):
        client.get("/")

        assert "brevo-events" not in [thread.name for thread in threading.enumerate()]

    def test_a_capture_starts_no_thread(self):
        event = track("viewed", "ada@example.com")

        assert "brevo-events" not in [thread.name for thread in threading.enumerate()]
        assert OutboxEvent.objects.get(pk=event.pk).status == Status.PENDING


@pytest.mark.django_db(transaction=True)
class WorkerEngineTests:
    def test_leaves_the_event_for_the_command(self, settings, django_assert_num_queries):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}

        event = track("viewed", "ada@example.com")

        with django_assert_num_queries(0):
            engines.current().nudge()
        assert OutboxEvent.objects.get(pk=event.pk).status == Status.PENDING
        assert locmem.sent == []


@pytest.mark.django_db(transaction=True)
class InlineEngineTests:
    def test_delivers_right_after_the_commit(self):
        with transaction.atomic():
            event = track("viewed", "ada@example.com")

        stored = OutboxEvent.objects.get(pk=event.pk)
        assert (stored.status, stored.response_code, stored.attempts) == (Status.SENT, 204, 1)
        assert locmem.sent == [{"email": "ada@example.com", "event": "viewed"}]

    def test_delivers_what_an_observer_of_a_delivery_captures(self):
        def answer(sender, event, **kwargs):
            if event.name == "first":
                track("second", "ada@example.com")

        event_sent.connect(answer, weak=False)
        try:
            track("first", "ada@example.com")
        finally:
            event_sent.disconnect(answer)

        assert [body["event"] for body in locmem.sent] == ["first", "second"]

    def test_sends_no_more_than_its_limit_of_what_others_left(self, settings, monkeypatch):
        monkeypatch.setattr(inline, "LIMIT", 2)
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        track_many([Event("viewed", f"user{number}@example.com") for number in range(4)])
        settings.BREVO_EVENTS = {"ENGINE": "inline"}

        engines.current().nudge()

        assert len(locmem.sent) == 2

    def test_does_not_break_the_request_when_brevo_refuses(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline"}
        fake_brevo.next(Reply.error(400, "invalid_parameter", "no"))

        event = track("viewed", "ada@example.com")

        assert OutboxEvent.objects.get(pk=event.pk).status == Status.FAILED

    def test_shows_a_setting_that_is_wrong_under_test(self, settings):
        settings.BREVO_EVENTS = {"TRANSPORT": "htpp"}

        with pytest.raises(InvalidSetting, match="'htpp'"):
            track("viewed", "ada@example.com")

    def test_logs_a_setting_that_is_wrong_elsewhere_and_keeps_the_event(self, settings, monkeypatch, caplog):
        settings.BREVO_EVENTS = {"TRANSPORT": "htpp"}
        monkeypatch.setattr(inline, "is_testing", lambda: False)
        monkeypatch.setattr(engines, "_engines", {})  # an engine logs the same only once in a while

        event = track("viewed", "ada@example.com")

        (logged,) = [entry for entry in caplog.records if entry.name == complaints.__name__]
        assert logged.levelno == logging.ERROR
        assert "Nothing was sent. BREVO_EVENTS['TRANSPORT'] is 'htpp'" in logged.getMessage()
        assert OutboxEvent.objects.get(pk=event.pk).status == Status.PENDING
