from __future__ import annotations

import datetime as dt
import logging

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from brevo_events import Event, track, track_many
from brevo_events.engines import Engine
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.models import OutboxEvent, Status
from brevo_events.signals import event_captured, event_rejected
from brevo_events.transports import locmem
from tests.shop.models import Product

nudges = []


class CountingEngine(Engine):
    def nudge(self):
        nudges.append(connection.in_atomic_block)


@pytest.fixture
def counting_engine(settings):
    nudges.clear()
    settings.BREVO_EVENTS = {"ENGINE": "tests.test_tracking.CountingEngine"}
    return nudges


@pytest.fixture
def not_raising(settings):
    settings.BREVO_EVENTS = {"RAISE_ERRORS": False, "ENGINE": "worker"}


@pytest.fixture
def observe():
    """Connect receivers to signals, for one test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        assert signal.disconnect(receiver)


def refuse_inserts(execute, sql, params, many, context):
    if sql.startswith("INSERT"):
        raise IntegrityError("refused")
    return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
class TrackTests:
    def test_writes_one_insert_and_no_other_query_and_no_savepoint(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track("item_deleted", "ada@example.com", object_id="cart:1", data={"a": 1}, properties={"FIRSTNAME": "A"})

            assert len(queries) == 1
            assert queries[0]["sql"].startswith("INSERT INTO")
            assert "brevo_events_outboxevent" in queries[0]["sql"]

    def test_keeps_what_it_was_given(self):
        track("item_deleted", "Ada@example.com", object_id="cart:1", data={"a": [1]}, properties={"FIRSTNAME": "Ada"})

        event = OutboxEvent.objects.get()
        assert (event.name, event.email, event.object_id) == ("item_deleted", "Ada@example.com", "cart:1")
        assert (event.data, event.properties) == ({"a": [1]}, {"FIRSTNAME": "Ada"})

    def test_returns_the_row_as_it_is_stored_with_real_datetimes(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}

        event = track("item_deleted", "ada@example.com")

        stored = OutboxEvent.objects.get(pk=event.pk)
        for name in ("created_at", "available_at", "due_at"):
            assert isinstance(getattr(event, name), dt.datetime)
            assert getattr(event, name).utcoffset() == dt.timedelta(0)
            assert getattr(event, name) == getattr(stored, name)
        assert event.status == stored.status == Status.PENDING

    def test_dates_by_the_real_clock_in_utc(self):
        event = track("item_deleted", "ada@example.com")

        assert abs(event.created_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)

    def test_leaves_nothing_of_work_that_is_rolled_back(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            track("item_deleted", "ada@example.com")
            raise ZeroDivisionError

        assert not OutboxEvent.objects.exists()
        assert locmem.sent == []

    def test_leaves_nothing_of_a_savepoint_that_is_rolled_back(self):
        with transaction.atomic():
            track("kept", "ada@example.com")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                track("lost", "ada@example.com")
                raise ZeroDivisionError

        assert [event.name for event in OutboxEvent.objects.all()] == ["kept"]
        assert [body["event"] for body in locmem.sent] == ["kept"]

    def test_sends_after_the_commit_and_not_before(self):
        with transaction.atomic():
            track("item_deleted", "ada@example.com")

            assert locmem.sent == []

        assert locmem.sent == [{"email": "ada@example.com", "event": "item_deleted"}]

    def test_keeps_nothing_where_it_is_not_enabled(self, settings, django_assert_num_queries):
        settings.BREVO_EVENTS = {"ENABLED": False}

        with django_assert_num_queries(0):
            assert track("item_deleted", "ada@example.com") is None
            assert track(Event("item_deleted", "ada@example.com")) is None
            assert track("", "is never looked at") is None
            assert track_many([Event("item_deleted", "ada@example.com")]) == []

    def test_takes_an_event_instead(self):
        event = track(Event("item_deleted", "ada@example.com", object_id="cart:1", data={"a": 1}))

        assert event == OutboxEvent.objects.get()
        assert (event.object_id, event.data) == ("cart:1", {"a": 1})

    @pytest.mark.parametrize(
        "beside",
        [
            {"email": "ada@example.com"},
            {"email": ""},
            {"object_id": "cart:1"},
            {"data": {}},
            {"properties": {"FIRSTNAME": "Ada"}},
        ],
        ids=lambda beside: next(iter(beside)),
    )
    @pytest.mark.parametrize("raise_errors", [True, False])
    def test_takes_nothing_beside_an_event(self, settings, beside, raise_errors):
        settings.BREVO_EVENTS = {"RAISE_ERRORS": raise_errors}

        with pytest.raises(TypeError, match="takes an Event and nothing else"):
            track(Event("item_deleted", "ada@example.com"), **beside)

        assert not OutboxEvent.objects.exists()

    def test_lets_database_errors_through(self, not_raising):
        with connection.execute_wrapper(refuse_inserts), pytest.raises(IntegrityError):
            track("item_deleted", "ada@example.com")

    def test_dooms_the_transaction_in_which_a_database_error_was_swallowed(self, not_raising):
        with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
            with connection.execute_wrapper(refuse_inserts), pytest.raises(DatabaseError):
                track("item_deleted", "ada@example.com")
            Product.objects.count()


@pytest.mark.django_db(transaction=True)
class InvalidEventTests:
    @pytest.mark.parametrize(
        ("name", "email", "more", "message"),
        [
            ("", "ada@example.com", {}, "name must not be empty"),
            (None, "ada@example.com", {}, "name must be a string"),
            ("viewed", None, {}, "email must be a string"),
            ("viewed", "ada", {}, "email is not an e-mail address"),
            ("viewed", "ada@example.com", {"data": {"at": object()}}, "data.at is of type object"),
            ("viewed", "ada@example.com", {"properties": {"email": "x"}}, "properties.email"),
            ("viewed", "ada@example.com", {"data": {"a": "\0"}}, "data.a contains a NUL"),
        ],
    )
    def test_raises_where_errors_are_raised(self, name, email, more, message):
        with pytest.raises(InvalidEvent, match=message):
            track(name, email, **more)

        assert not OutboxEvent.objects.exists()

    def test_is_logged_with_its_traceback(self, not_raising, caplog):
        assert track("viewed", "ada") is None

        (logged,) = [entry for entry in caplog.records if entry.name == "brevo_events.tracking"]
        assert logged.levelno == logging.ERROR
        assert "email is not an e-mail address" in logged.getMessage()
        assert logged.exc_info[0] is InvalidEvent
        assert "in track" in caplog.text

    def test_is_announced(self, not_raising, observe):
        announced = []
        observe(event_rejected, lambda sender, error, **kwargs: announced.append((sender, error)))

        track("viewed", "ada")

        ((sender, error),) = announced
        assert sender is None
        assert isinstance(error, InvalidEvent)

    def test_is_not_announced_where_it_is_raised(self, observe):
        announced = []
        observe(event_rejected, lambda sender, error, **kwargs: announced.append(error))

        with pytest.raises(InvalidEvent):
            track("viewed", "ada")

        assert announced == []

    def test_leaves_the_callers_transaction_as_it_was(self, not_raising):
        with transaction.atomic():
            Product.objects.create(name="before", price=1)
            assert track("viewed", "ada") is None
            Product.objects.create(name="after", price=1)
            track("viewed", "ada@example.com")

        assert [product.name for product in Product.objects.order_by("pk")] == ["before", "after"]
        assert OutboxEvent.objects.count() == 1

    def test_is_no_matter_of_an_observer_that_fails(self, not_raising, observe):
        def fail(**kwargs):
            raise ZeroDivisionError

        observe(event_rejected, fail)

        assert track("viewed", "ada") is None


@pytest.mark.django_db(transaction=True)
class TrackManyTests:
    def test_writes_a_hundred_events_in_few_statements(self):
        events = [Event("viewed", f"user{number}@example.com", data={"n": number}) for number in range(100)]

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            rows = track_many(events)

            assert len(queries) <= 3
            assert all(query["sql"].startswith("INSERT INTO") for query in queries)
        assert [row.email for row in rows] == [event.email for event in events]
        assert [row.data for row in rows] == [{"n": number} for number in range(100)]

    def test_returns_the_rows_with_keys_and_real_datetimes(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}

        rows = track_many([Event("viewed", "ada@example.com"), Event("viewed", "bob@example.com")])

        stored = list(OutboxEvent.objects.order_by("pk"))
        assert rows == stored
        for name in ("created_at", "available_at", "due_at"):
            assert [getattr(row, name) for row in rows] == [getattr(row, name) for row in stored]

    def test_takes_a_generator_and_one_event(self):
        (row,) = track_many(Event(name, "ada@example.com") for name in ["viewed"])

        assert row == OutboxEvent.objects.get()

    @pytest.mark.parametrize("nothing", [[], ()])
    def test_of_nothing_asks_the_database_nothing(self, nothing, counting_engine, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert track_many(nothing) == []

        assert counting_engine == []

    def test_refuses_what_is_no_event_and_keeps_none(self, not_raising):
        with pytest.raises(TypeError, match="Expected an Event, not dict"):
            track_many([Event("viewed", "ada@example.com"), {"name": "viewed"}])

        assert not OutboxEvent.objects.exists()

    def test_leaves_nothing_of_work_that_is_rolled_back(self, counting_engine):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            track_many([Event("viewed", "ada@example.com"), Event("viewed", "bob@example.com")])
            raise ZeroDivisionError

        assert not OutboxEvent.objects.exists()
        assert counting_engine == []

    def test_nudges_the_engine_once(self, counting_engine):
        track_many([Event("viewed", "ada@example.com"), Event("viewed", "bob@example.com")])

        assert counting_engine == [False]


@pytest.mark.django_db(transaction=True)
class NudgeTests:
    def test_comes_after_the_commit(self, counting_engine):
        with transaction.atomic():
            track("viewed", "ada@example.com")

            assert counting_engine == []

        assert counting_engine == [False]

    def test_comes_at_once_without_a_transaction(self, counting_engine):
        track("viewed", "ada@example.com")

        assert counting_engine == [False]

    def test_does_not_come_after_a_rollback(self, counting_engine):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            track("viewed", "ada@example.com")
            raise ZeroDivisionError

        assert counting_engine == []

    def test_that_fails_is_seen_under_test(self, settings, monkeypatch):
        settings.BREVO_EVENTS = {"ENGINE": "tests.test_tracking.CountingEngine"}
        monkeypatch.setattr(CountingEngine, "nudge", lambda self: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            track("viewed", "ada@example.com")

    def test_that_fails_does_not_break_the_request_elsewhere(self, settings, monkeypatch, caplog):
        settings.BREVO_EVENTS = {"ENGINE": "tests.test_tracking.CountingEngine"}
        monkeypatch.setattr(CountingEngine, "nudge", lambda self: 1 / 0)
        monkeypatch.setattr("brevo_events.tracking.is_testing", lambda: False)
        others = []

        with transaction.atomic():
            event = track("viewed", "ada@example.com")
            transaction.on_commit(lambda: others.append("ran"))

        assert OutboxEvent.objects.get() == event
        assert others == ["ran"]
        assert "ZeroDivisionError" in caplog.text

    def test_of_an_engine_that_does_not_exist_says_so(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "threat"}

        with pytest.raises(InvalidSetting, match="'threat'"), transaction.atomic():
            track("viewed", "ada@example.com")


@pytest.mark.django_db(transaction=True)
class EventCapturedTests:
    def test_is_sent_in_the_callers_transaction_with_the_row(self, observe):
        seen = []
        observe(
            event_captured,
            lambda sender, event, **kwargs: seen.append((sender, event.pk, connection.in_atomic_block)),
        )

        with transaction.atomic():
            event = track("viewed", "ada@example.com")

            assert seen == [(OutboxEvent, event.pk, True)]

    def test_is_sent_for_each_of_many(self, observe):
        seen = []
        observe(event_captured, lambda sender, event, **kwargs: seen.append(event))

        rows = track_many([Event("viewed", "ada@example.com"), Event("viewed", "bob@example.com")])

        assert seen == rows

    def test_harms_nothing_where_an_observer_fails(self, observe, caplog):
        def fail(**kwargs):
            raise ZeroDivisionError

        observe(event_captured, fail)
        seen = []
        observe(event_captured, lambda sender, event, **kwargs: seen.append(event))

        event = track("viewed", "ada@example.com")

        assert OutboxEvent.objects.get() == event
        assert seen == [event]
        assert "ZeroDivisionError" in caplog.text
        assert len(locmem.sent) == 1
