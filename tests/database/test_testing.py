from __future__ import annotations

import datetime as dt
import subprocess
import sys
import unittest
from decimal import Decimal

import pytest
from django.db import transaction
from django.test import TestCase

from brevo_events import Event, testing, track, track_many
from brevo_events.models import OutboxEvent
from brevo_events.signals import event_captured
from brevo_events.testing import BrevoEventsTestMixin, capture_events, deliver_events
from brevo_events.transports import locmem

ADA = "ada@example.com"


class NamesTests:
    def test_are_all_there(self):
        for name in testing.__all__:
            assert getattr(testing, name).__name__ == name

    def test_that_do_not_exist_are_an_error(self):
        with pytest.raises(AttributeError, match="no attribute 'capture'"):
            testing.capture  # noqa: B018 - reading it is what raises


@pytest.mark.django_db
class CaptureEventsTests:
    def test_gives_what_is_captured_meanwhile_though_nothing_is_committed(self):
        track("before", ADA)
        with capture_events() as events:
            assert events == []
            track("viewed", ADA, object_id="cart:1", data={"n": 1}, properties={"FIRSTNAME": "Ada"})
            track_many([Event("one", ADA), Event("two", ADA)])
        track("after", ADA)

        assert [event.name for event in events] == ["viewed", "one", "two"]
        assert (events[0].email, events[0].object_id) == (ADA, "cart:1")
        assert (events[0].data, events[0].properties) == ({"n": 1}, {"FIRSTNAME": "Ada"})
        assert events[0] == OutboxEvent.objects.get(name="viewed")
        assert locmem.sent == []

    def test_gives_each_its_own_where_it_is_nested(self):
        with capture_events() as outer:
            track("one", ADA)
            with capture_events() as inner:
                track("two", ADA)

        assert [event.name for event in outer] == ["one", "two"]
        assert [event.name for event in inner] == ["two"]

    def test_leaves_no_receiver_behind_after_an_error(self):
        receivers = list(event_captured.receivers)

        with pytest.raises(ZeroDivisionError), capture_events() as events:
            raise ZeroDivisionError

        track("after", ADA)
        assert events == []
        assert event_captured.receivers == receivers

    def test_gives_nothing_where_nothing_is_kept(self, settings):
        settings.BREVO_EVENTS = {"ENABLED": False}

        with capture_events() as events:
            track("viewed", ADA)

        assert events == []


class DeliverEventsTests(BrevoEventsTestMixin, TestCase):
    def test_sends_what_has_a_delay_and_returns_it_in_order(self):
        for name in ("first", "second"):
            track(name, ADA, delay=3600)

        sent = deliver_events()

        assert [event.name for event in sent] == [body["event"] for body in locmem.sent] == ["first", "second"]
        assert {event.status for event in sent} == {"sent"}
        assert deliver_events() == []

    def test_shows_that_an_order_cancels_the_reminder(self):
        track("cart_updated", ADA, object_id="cart:1", delay=60, coalesce=True)
        track("order_completed", ADA, object_id="cart:1", supersedes=("cart_updated",))

        assert [event.name for event in deliver_events()] == ["order_completed"]
        assert OutboxEvent.objects.get(name="cart_updated").reason == "superseded"

    def test_shows_that_only_the_last_of_many_is_sent(self):
        for number in range(5):
            track("cart_updated", ADA, object_id="cart:1", data={"n": number}, delay=60, coalesce=True)

        assert [event.data for event in deliver_events()] == [{"n": 4}]


class MixinTests(BrevoEventsTestMixin, TestCase):
    def test_starts_with_an_empty_list(self):
        assert self.brevo_events == []

    def test_lists_what_is_captured(self):
        event = track("viewed", ADA)

        assert self.brevo_events == [event]

    def test_finds_an_event_by_its_name_and_returns_it(self):
        event = track("viewed", ADA)

        assert self.assertEventTracked("viewed") is self.brevo_events[0]
        assert self.assertEventTracked("viewed") == event

    def test_returns_the_last_one_that_matches(self):
        track("viewed", ADA, data={"n": 1})
        track("viewed", ADA, data={"n": 2})
        track("viewed", "bob@example.com", data={"n": 3})

        assert self.assertEventTracked("viewed", ADA).data == {"n": 2}

    def test_compares_the_address_as_contacts_are(self):
        track("viewed", "Ada@Exämple.com")

        self.assertEventTracked("viewed", "ADA@exämple.COM")
        self.assertEventTracked("viewed", "ada@xn--exmple-cua.com")
        with self.assertRaises(AssertionError):
            self.assertNoEventTracked("viewed", "ada@xn--exmple-cua.com")

    def test_compares_data_and_properties_as_a_whole(self):
        track("viewed", ADA, object_id="cart:1", data={"a": [1], "b": None}, properties={"FIRSTNAME": "Ada"})

        self.assertEventTracked(
            "viewed", ADA, object_id="cart:1", data={"a": [1], "b": None}, properties={"FIRSTNAME": "Ada"}
        )
        for expected in ({"data": {"a": [1]}}, {"object_id": "cart:2"}, {"object_id": None}, {"properties": None}):
            with self.subTest(expected), self.assertRaises(AssertionError):
                self.assertEventTracked("viewed", **expected)

    def test_compares_values_as_they_were_given_to_track(self):
        given = {"price": Decimal("0.10"), "at": dt.date(2026, 11, 23), "sizes": ("S", "M")}
        track("viewed", ADA, data=given)

        self.assertEventTracked("viewed", data=given)
        self.assertEventTracked("viewed", data={"price": 0.1, "at": "2026-11-23", "sizes": ["S", "M"]})
        with self.assertRaises(AssertionError):
            self.assertEventTracked("viewed", data={**given, "price": Decimal("0.11")})

    def test_finds_an_event_without_object_and_data(self):
        track("viewed", ADA)

        self.assertEventTracked("viewed", object_id=None, data=None, properties=None)

    def test_tells_what_was_wanted_and_what_there_was(self):
        track("deleted", "bob@example.com", object_id="cart:2", data={"n": 1})

        with self.assertRaises(AssertionError) as raised:
            self.assertEventTracked("viewed", ADA, object_id="cart:1")

        assert str(raised.exception).splitlines() == [
            "No event was captured like: viewed, ada@example.com, object_id='cart:1'.",
            "Captured:",
            "  deleted bob@example.com object_id='cart:2' data={'n': 1}",
        ]

    def test_tells_that_there_was_nothing(self):
        with self.assertRaisesRegex(AssertionError, "Captured: nothing"):
            self.assertEventTracked("viewed")

    def test_finds_that_none_was_captured(self):
        self.assertNoEventTracked()

        track("viewed", ADA)

        self.assertNoEventTracked("deleted")
        self.assertNoEventTracked("viewed", "bob@example.com")
        self.assertNoEventTracked(email="bob@example.com")

    def test_fails_where_one_was_captured(self):
        track("viewed", ADA)
        track("deleted", "bob@example.com")

        for wanted in ({}, {"name": "viewed"}, {"email": ADA}, {"name": "viewed", "email": ADA.upper()}):
            with self.subTest(wanted), self.assertRaisesRegex(AssertionError, "Expected no such event") as raised:
                self.assertNoEventTracked(**wanted)
            assert ("deleted" in str(raised.exception)) is (wanted == {})

    def test_takes_no_notice_of_what_was_rolled_back(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            track("ordered", ADA, data={"n": 1})
            raise ZeroDivisionError

        self.assertNoEventTracked()
        with self.assertRaisesRegex(AssertionError, "Captured: nothing"):
            self.assertEventTracked("ordered")

        track("ordered", ADA, data={"n": 2})

        assert self.assertEventTracked("ordered").data == {"n": 2}
        with self.assertRaises(AssertionError):
            self.assertEventTracked("ordered", data={"n": 1})

    def test_still_knows_of_what_was_erased(self):
        track("ordered", ADA)
        OutboxEvent.objects.update(contact="", email="", body="{}")

        self.assertEventTracked("ordered", ADA)

    def test_tells_of_a_misspelt_argument(self):
        with self.assertRaisesRegex(TypeError, "compares object_id, data and properties, not objectid"):
            self.assertEventTracked("ordered", objectid="cart:1")

    def test_tells_what_is_wrong_where_it_was_not_set_up(self):
        class Behind(TestCase, BrevoEventsTestMixin):
            def test_it(self):
                self.assertNoEventTracked()

        class Overridden(BrevoEventsTestMixin, unittest.TestCase):
            def setUp(self):
                pass

            def test_it(self):
                self.assertNoEventTracked()

        for case in (Behind, Overridden):
            ((_, trouble),) = case("test_it").run().errors
            assert "BrevoEventsTestMixin stands before TestCase, and setUp() calls super().setUp()" in trouble

    def test_leaves_no_receiver_behind(self):
        class Inner(BrevoEventsTestMixin, unittest.TestCase):
            def runTest(self):
                track("viewed", ADA)

        receivers = len(event_captured.receivers)

        result = Inner().run()

        assert result.wasSuccessful(), result.errors
        assert len(event_captured.receivers) == receivers


class FixtureTests:
    def test_gives_what_is_captured_and_brings_the_database(self, brevo_outbox):
        assert brevo_outbox == []

        event = track("viewed", ADA)

        assert brevo_outbox == [event]
        assert locmem.sent == []

    @pytest.mark.django_db(transaction=True)
    def test_works_with_real_transactions(self, brevo_outbox):
        with transaction.atomic():
            track("viewed", ADA)

        assert [event.name for event in brevo_outbox] == ["viewed"]
        assert len(locmem.sent) == 1

    def test_is_known_in_a_project_without_django_settings(self, tmp_path, monkeypatch):
        (tmp_path / "test_it.py").write_text(
            "import sys\n"
            "def test_it():\n"
            "    assert 'brevo_events.pytest_plugin' in sys.modules\n"
            "    from brevo_events.testing import FakeBrevo\n"
            "    with FakeBrevo() as brevo:\n"
            "        assert brevo.url.startswith('http://127.0.0.1')\n"
            "    assert 'brevo_events.models' not in sys.modules\n"
        )
        monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
        # Loaded by its entry point where the project is installed; Django's own plugin must not be needed.
        command = [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", "-q", "test_it.py"]

        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
