from __future__ import annotations

import logging

import pytest
from django.db import transaction

from brevo_events import engines, track, track_many
from brevo_events.engines import Engine, inline
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
        [("inline", InlineEngine), ("worker", Engine), ("tests.test_engines.OwnEngine", OwnEngine)],
    )
    def test_is_the_one_that_the_settings_name(self, settings, name, expected):
        settings.BREVO_EVENTS = {"ENGINE": name}

        assert type(engines.current()) is expected

    def test_is_inline_under_test(self, settings):
        settings.BREVO_EVENTS = {}

        assert type(engines.current()) is InlineEngine

    def test_is_kept_so_that_an_engine_can_hold_threads(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "tests.test_engines.OwnEngine"}

        assert engines.current() is engines.current()

    @pytest.mark.parametrize("name", ["threat", "", "no.such.Engine", "tests.test_engines.Missing", "tests.no.Engine"])
    def test_that_cannot_be_found_is_told_with_what_would_do(self, settings, name):
        settings.BREVO_EVENTS = {"ENGINE": name}

        with pytest.raises(InvalidSetting, match=f"'ENGINE'. is '{name}'") as raised:
            engines.current()

        assert all(known in str(raised.value) for known in engines.ENGINES)

    @pytest.mark.parametrize("name", ["tests.test_engines.NOT_AN_ENGINE", "brevo_events.engines.current", "json.loads"])
    def test_must_be_a_subclass_of_engine(self, settings, name):
        settings.BREVO_EVENTS = {"ENGINE": name}

        with pytest.raises(InvalidSetting, match="no subclass of Engine"):
            engines.current()


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

        event = track("viewed", "ada@example.com")

        (logged,) = [entry for entry in caplog.records if entry.name == inline.__name__]
        assert logged.levelno == logging.ERROR
        assert "Nothing was sent. BREVO_EVENTS['TRANSPORT'] is 'htpp'" in logged.getMessage()
        assert OutboxEvent.objects.get(pk=event.pk).status == Status.PENDING
