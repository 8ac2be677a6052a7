from __future__ import annotations

import datetime as dt
import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from brevo_events import Event, cancel, track, track_many
from brevo_events.clock import UtcNow
from brevo_events.delivery import deliver
from brevo_events.engines import Engine
from brevo_events.exceptions import InvalidEvent, InvalidSetting
from brevo_events.models import OutboxEvent, Reason, Status
from brevo_events.signals import event_cancelled, event_captured, event_rejected
from brevo_events.transports import locmem
from tests.deliveries import claim
from tests.shop.models import Product

nudges = []


class CountingEngine(Engine):
    def nudge(self):
        nudges.append(connection.in_atomic_block)


@pytest.fixture
def counting_engine(settings):
    nudges.clear()
    settings.BREVO_EVENTS = {"ENGINE": "tests.database.test_tracking.CountingEngine"}
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


@pytest.fixture
def by_hand(settings):
    """Nothing is sent but by the test itself."""
    settings.BREVO_EVENTS = {"ENGINE": "worker"}


ADA, BOB = "ada@example.com", "bob@example.com"


def statements(queries):
    """Return the first word of each statement."""
    return [query["sql"].split()[0] for query in queries]


def now():
    """Return the time by the clock of the database."""
    return OutboxEvent.objects.annotate(now=UtcNow()).values_list("now", flat=True)[0]


def ahead(moment):
    """Return how many seconds from now a moment is."""
    return (moment - now()).total_seconds()


def states(**filters):
    """Return what became of each event, in the order of capture."""
    return list(OutboxEvent.objects.filter(**filters).order_by("pk").values_list("name", "status", "reason"))


def waiting():
    """Return the names of what is still pending, in the order of capture."""
    return [name for name, status, _ in states() if status == Status.PENDING]


def in_thread(function):
    """Return a function that runs with a database connection of its own."""

    def run():
        try:
            return function()
        finally:
            connections.close_all()

    return run


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
            {"coalesce": True},
            {"delay": 60},
            {"delay": 0},
            {"supersedes": ("viewed",)},
            {"supersedes": []},
            {"implied_by": ("viewed",)},
            {"expires": 60},
            {"idempotency_key": "1"},
            {"idempotency_key": ""},
        ],
        ids=lambda beside: next(iter(beside)),
    )
    @pytest.mark.parametrize("raise_errors", [True, False])
    def test_takes_nothing_beside_an_event(self, settings, beside, raise_errors):
        settings.BREVO_EVENTS = {"RAISE_ERRORS": raise_errors}

        with pytest.raises(TypeError, match="takes an Event and nothing else"):
            track(Event("item_deleted", "ada@example.com"), **beside)

        assert not OutboxEvent.objects.exists()

    def test_takes_none_where_there_is_no_event_and_nothing_beside_it(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert track(None) is None

        with pytest.raises(TypeError, match="takes an Event and nothing else"):
            track(None, data={"n": 1})

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
            ("viewed", "ada@example.com", {"coalesce": 1}, "coalesce must be True or False"),
            ("viewed", "ada@example.com", {"delay": -1}, "delay must be from 0 seconds"),
            ("viewed", "ada@example.com", {"delay": 10**400}, "delay must be from 0 seconds"),
            ("viewed", "ada@example.com", {"supersedes": "viewed"}, "supersedes must be a tuple"),
            ("viewed", "ada@example.com", {"expires": 0}, "expires must be longer than delay"),
            ("viewed", "ada@example.com", {"idempotency_key": 1}, "idempotency_key must be a string"),
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
        assert "Traceback" in caplog.text

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

    def test_takes_a_generator_and_skips_none_as_of_an_anonymous_cart(self):
        (row,) = track_many(Event(name, "ada@example.com") if name else None for name in ["viewed", ""])

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
        settings.BREVO_EVENTS = {"ENGINE": "tests.database.test_tracking.CountingEngine"}
        monkeypatch.setattr(CountingEngine, "nudge", lambda self: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            track("viewed", "ada@example.com")

    def test_that_fails_does_not_break_the_request_elsewhere(self, settings, monkeypatch, caplog):
        settings.BREVO_EVENTS = {"ENGINE": "tests.database.test_tracking.CountingEngine"}
        monkeypatch.setattr(CountingEngine, "nudge", lambda self: 1 / 0)
        monkeypatch.setattr("brevo_events.tracking.is_testing", lambda: False)
        others = []

        with transaction.atomic():
            event = track("viewed", "ada@example.com")
            transaction.on_commit(lambda: others.append("ran"))

        assert OutboxEvent.objects.get() == event
        assert others == ["ran"]
        assert "ZeroDivisionError" in caplog.text

    def test_comes_once_for_all_captures_of_a_transaction(self, counting_engine):
        with transaction.atomic():
            for number in range(20):
                with transaction.atomic():
                    track("viewed", ADA, data={"n": number})
            track("viewed", ADA)

        assert counting_engine == [False]

        track("viewed", ADA)

        assert counting_engine == [False, False]

    def test_comes_though_the_savepoint_that_asked_first_is_rolled_back(self, counting_engine):
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                track("lost", ADA)
                raise ZeroDivisionError
            track("kept", ADA)

        assert counting_engine == [False]

    def test_comes_in_the_transaction_after_one_that_is_rolled_back(self, counting_engine):
        for is_lost in (True, False):
            with transaction.atomic():
                track("viewed", ADA)
                transaction.set_rollback(is_lost)

        assert counting_engine == [False]

    def test_comes_for_what_is_captured_after_it(self, counting_engine):
        with transaction.atomic():
            track("first", ADA)
            transaction.on_commit(lambda: track("second", ADA))

        assert counting_engine == [False, False]

    def test_is_left_out_where_transactions_are_managed_by_hand(self, counting_engine):
        transaction.set_autocommit(False)
        try:
            track("viewed", ADA)
            assert cancel(ADA, name="nothing") == 0
            track("viewed", ADA, idempotency_key="1")
            transaction.commit()
        finally:
            transaction.set_autocommit(True)

        assert waiting() == ["viewed", "viewed"]
        assert counting_engine == []

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


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class OptionsTests:
    @pytest.mark.parametrize(
        "options",
        [
            {"coalesce": True},
            {"delay": 60},
            {"expires": 60},
            {"idempotency_key": "1001"},
            {"coalesce": True, "delay": dt.timedelta(minutes=1), "expires": 120, "idempotency_key": "1001"},
        ],
        ids=lambda options: "+".join(options),
    )
    @pytest.mark.parametrize("is_event", [True, False])
    def test_cost_no_statement_beside_the_insert(self, options, is_event):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            if is_event:
                track(Event("viewed", ADA, object_id="cart:1", **options))
            else:
                track("viewed", ADA, object_id="cart:1", **options)

            is_looked_up = connection.vendor == "mysql" and "idempotency_key" in options
            assert statements(queries) == (["SELECT", "INSERT"] if is_looked_up else ["INSERT"])

    def test_cost_no_statement_for_an_event_that_many_coalesce_with(self):
        for _ in range(5):
            track("viewed", ADA, object_id="cart:1", coalesce=True)

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track("viewed", ADA, object_id="cart:1", coalesce=True)

            assert statements(queries) == ["INSERT"]
        assert waiting() == ["viewed"] * 6

    @pytest.mark.parametrize("older", [0, 3])
    def test_of_superseding_cost_one_statement_more_and_two_on_mariadb(self, older):
        for _ in range(older):
            track("viewed", ADA, object_id="cart:1")

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track("bought", ADA, object_id="cart:1", supersedes=("viewed", "left"))

        expected = ["INSERT", "SELECT", "UPDATE"] if connection.vendor == "mysql" else ["INSERT", "UPDATE"]
        assert statements(queries) == (expected if older or connection.vendor != "mysql" else expected[:2])

    def test_keep_many_in_one_statement_where_there_are_no_keys(self):
        options = [{"coalesce": True}, {"delay": 60}, {"expires": 60}, {}]

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track_many([Event("viewed", ADA, **each) for each in options])

            assert statements(queries) == ["INSERT"]

    def test_reach_the_row(self):
        track("viewed", ADA, object_id="cart:1", coalesce=True, idempotency_key="1001")

        row = OutboxEvent.objects.get()
        assert row.coalesce_key == Event("viewed", "ADA@example.com", object_id="cart:1", coalesce=True).coalesce_key
        assert len(row.idempotency_key) == 64
        assert "1001" not in row.idempotency_key

    def test_leave_the_row_as_it_was_where_there_are_none(self):
        row = OutboxEvent.objects.get(pk=track("viewed", ADA).pk)

        assert (row.coalesce_key, row.idempotency_key, row.expires_at) == (None, None, None)
        assert row.created_at == row.available_at == row.due_at


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class DelayTests:
    @pytest.mark.parametrize("more", [{}, {"coalesce": True}, {"idempotency_key": "1001"}], ids=str)
    @pytest.mark.parametrize("delay", [90, dt.timedelta(minutes=1, seconds=30)], ids=str)
    def test_makes_the_event_due_that_many_seconds_later_by_the_databases_clock(self, delay, more):
        event = track("viewed", ADA, delay=delay, **more)

        row = OutboxEvent.objects.get()
        assert row.available_at == row.due_at
        assert ahead(row.due_at) == pytest.approx(90, abs=10)
        assert ahead(row.created_at) == pytest.approx(0, abs=10)
        assert (event.available_at, event.due_at, event.created_at) == (row.available_at, row.due_at, row.created_at)

    def test_is_that_of_each_of_many(self):
        rows = track_many([Event("viewed", ADA, delay=delay) for delay in (None, 100, 200)])

        assert [round(ahead(row.due_at), -2) for row in rows] == [0, 100, 200]

    def test_counts_from_the_capture_however_long_the_transaction_has_been_open(self):
        with transaction.atomic():
            track("viewed", ADA)
            event = track("viewed", ADA, delay=60)

            assert (event.due_at - event.created_at).total_seconds() == pytest.approx(60, abs=1)

    def test_of_nothing_is_none(self):
        event = track("viewed", ADA, delay=0)

        assert event.due_at == event.created_at

    def test_holds_back_the_event_and_no_other(self):
        track("later", ADA, delay=60)
        track("now", ADA)

        deliver()

        assert [body["event"] for body in locmem.sent] == ["now"]
        assert waiting() == ["later"]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class ExpiresTests:
    @pytest.mark.parametrize("expires", [90, dt.timedelta(minutes=1, seconds=30)], ids=str)
    @pytest.mark.parametrize("more", [{}, {"delay": 30}, {"idempotency_key": "1001"}], ids=str)
    def test_is_that_many_seconds_after_the_capture_by_the_databases_clock(self, expires, more):
        event = track("viewed", ADA, expires=expires, **more)

        row = OutboxEvent.objects.get()
        assert ahead(row.expires_at) == pytest.approx(90, abs=10)
        assert event.expires_at == row.expires_at

    @pytest.mark.parametrize("default", [90, 90.0, dt.timedelta(seconds=90), {"viewed": 90, "other": 5}], ids=str)
    def test_has_a_default(self, settings, default):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": default}

        assert ahead(track("viewed", ADA).expires_at) == pytest.approx(90, abs=10)
        assert ahead(track(Event("viewed", ADA)).expires_at) == pytest.approx(90, abs=10)

    def test_has_none_for_a_name_that_the_dict_does_not_have(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": {"viewed": 90}}

        assert track("Viewed", ADA).expires_at is None

    def test_by_a_default_that_is_shorter_than_the_delay_counts_from_its_end(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": 90}

        assert ahead(track("viewed", ADA, delay=300).expires_at) == pytest.approx(390, abs=10)

    @pytest.mark.parametrize("default", [90, {"viewed": 90}], ids=str)
    def test_of_the_event_goes_before_the_default(self, settings, default):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": default}

        assert ahead(track("viewed", ADA, expires=900).expires_at) == pytest.approx(900, abs=10)

    def test_is_read_when_the_event_is_captured(self, settings):
        event = Event("viewed", ADA)
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": 90}

        assert event.expires is None
        assert track(event).expires_at is not None

    def test_of_a_setting_that_cannot_be_used_raises_here_and_breaks_nothing_elsewhere(
        self, settings, monkeypatch, caplog
    ):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "EXPIRES": "soon"}

        with pytest.raises(InvalidSetting, match="EXPIRES"):
            track("viewed", ADA)
        monkeypatch.setattr("brevo_events.conf.is_testing", lambda: False)
        event = track("viewed", ADA)

        assert event.expires_at is None
        assert "EXPIRES" in caplog.text


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class IdempotencyTests:
    def test_keeps_the_first_and_nothing_of_the_second(self, observe):
        captured = []
        observe(event_captured, lambda sender, event, **kwargs: captured.append(event.pk))
        first = track("bought", ADA, idempotency_key="1001", data={"n": 1})
        viewed = track("viewed", ADA)

        second = track("bought", ADA, idempotency_key="1001", data={"n": 2}, supersedes=("viewed",))

        assert second is None
        assert states() == [("bought", "pending", ""), ("viewed", "pending", "")]
        assert OutboxEvent.objects.get(name="bought").data == {"n": 1}
        assert captured == [first.pk, viewed.pk]

    def test_nudges_nobody_for_what_is_not_kept(self, counting_engine):
        track("bought", ADA, idempotency_key="1001")
        counting_engine.clear()

        track("bought", ADA, idempotency_key="1001")

        assert counting_engine == []

    def test_holds_for_whatever_event_has_the_key(self):
        track("bought", ADA, idempotency_key="1001")

        assert track("sold", BOB, object_id="x", idempotency_key="1001") is None

    @pytest.mark.parametrize("key", ["1001 ", " 1001", "1002", "é", "é".upper(), "e", "E"])
    def test_takes_only_the_very_same_key_for_one(self, key):
        track("bought", ADA, idempotency_key="1001")
        for other in {"é", "É", "e", "E"} - {key}:
            track("bought", ADA, idempotency_key=other)

        assert track("bought", ADA, idempotency_key=key) is not None

    @pytest.mark.parametrize("status", [Status.SENT, Status.FAILED, Status.CANCELLED, Status.SENDING])
    def test_holds_whatever_became_of_the_first(self, status):
        track("bought", ADA, idempotency_key="1001")
        OutboxEvent.objects.update(status=status)

        assert track("bought", ADA, idempotency_key="1001") is None

    def test_leaves_the_transaction_usable(self):
        track("bought", ADA, idempotency_key="1001")

        with transaction.atomic():
            Product.objects.create(name="before", price=1)
            assert track("bought", ADA, idempotency_key="1001") is None
            Product.objects.create(name="after", price=1)
            assert track("viewed", ADA) is not None

        assert [product.name for product in Product.objects.order_by("pk")] == ["before", "after"]
        assert waiting() == ["bought", "viewed"]

    def test_opens_no_savepoint(self):
        track("bought", ADA, idempotency_key="1001")

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track("bought", ADA, idempotency_key="1001", supersedes=("viewed",))

            assert statements(queries) == (["SELECT"] if connection.vendor == "mysql" else ["INSERT"])

    def test_frees_the_key_where_the_first_capture_is_rolled_back(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            track("bought", ADA, idempotency_key="1001")
            raise ZeroDivisionError

        assert track("bought", ADA, idempotency_key="1001") is not None

    def test_frees_the_key_where_a_savepoint_is_rolled_back(self):
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                track("bought", ADA, idempotency_key="1001")
                raise ZeroDivisionError

            assert track("bought", ADA, idempotency_key="1001") is not None
            assert track("bought", ADA, idempotency_key="1001") is None

    def test_lets_other_errors_of_the_database_through(self):
        with connection.execute_wrapper(refuse_inserts), pytest.raises(IntegrityError):
            track("bought", ADA, idempotency_key="1001")

    def test_keeps_the_order_of_many_and_returns_only_what_was_kept(self):
        track("seen", ADA, idempotency_key="seen")
        given = [
            Event("a", ADA),
            Event("b", ADA, idempotency_key="b"),
            Event("c", ADA, idempotency_key="seen"),
            Event("d", ADA),
            Event("e", ADA),
            Event("f", ADA, idempotency_key="b"),
            Event("g", ADA, idempotency_key="g"),
            Event("h", ADA),
        ]

        rows = track_many(given)

        assert [row.name for row in rows] == ["a", "b", "d", "e", "g", "h"]
        assert [row.pk for row in rows] == sorted(row.pk for row in rows)
        assert waiting() == ["seen", "a", "b", "d", "e", "g", "h"]

    def test_of_many_that_were_all_seen_keeps_nothing(self, counting_engine):
        track("a", ADA, idempotency_key="1")
        counting_engine.clear()

        assert track_many([Event("b", ADA, idempotency_key="1"), Event("c", ADA, idempotency_key="1")]) == []
        assert counting_engine == []

    @pytest.mark.parametrize("name", ["created_at", "available_at", "due_at", "expires_at"])
    @pytest.mark.parametrize("options", [{}, {"delay": 5, "expires": 10}], ids=str)
    def test_gives_a_row_whose_moments_can_be_read(self, name, options):
        event = track("bought", ADA, idempotency_key="1001", **options)

        moment = getattr(event, name)
        assert moment == getattr(OutboxEvent.objects.get(), name)
        assert isinstance(moment, dt.datetime) or (name, options) == ("expires_at", {})

    def test_gives_a_row_that_can_be_shown_saved_and_read_in_the_callers_transaction(self, observe):
        read = []
        observe(event_captured, lambda sender, event, **kwargs: read.append((event.created_at, event.due_at)))

        with transaction.atomic():
            event = track("bought", ADA, idempotency_key="1001", delay=5)
            event.refresh_from_db()
            event.save()

        row = OutboxEvent.objects.get()
        assert read == [(row.created_at, row.due_at)]
        assert (str(event), event.status, event.attempts) == (f"bought #{row.pk}", "pending", 0)


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class SameKeyAtOnceTests:
    @pytest.fixture(autouse=True)
    def _with_row_locks(self):
        if not connection.features.has_select_for_update:
            pytest.skip("SQLite has one writer at a time")

    def race(self, writers, ends_with):
        """Hold a capture of the key open while others capture it; return what they got once it has ended."""
        held, over = threading.Event(), threading.Event()

        def first():
            with transaction.atomic():
                row = track("bought", ADA, idempotency_key="1001", data={"by": "first"})
                held.set()
                assert over.wait(15)
                ends_with()
            return row

        def other():
            with transaction.atomic():
                return track("bought", ADA, idempotency_key="1001", data={"by": "another"})

        with ThreadPoolExecutor(writers + 1) as pool:
            one = pool.submit(in_thread(first))
            assert held.wait(10)
            others = [pool.submit(in_thread(other)) for _ in range(writers)]
            _, unfinished = wait(others, timeout=0.5)
            is_waiting = len(unfinished) == writers
            over.set()
            return is_waiting, one, [each.result(timeout=15) for each in others]

    def test_a_key_that_is_there_holds_up_nobody(self):
        track("bought", ADA, idempotency_key="1001")
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            assert track("bought", ADA, idempotency_key="1001") is None

            # Keys are stored as hashes: some of these fall into the gap in front of that one, and some behind it.
            others = pool.submit(in_thread(lambda: [track("b", BOB, idempotency_key=str(n)) for n in range(20)]))

            assert len(others.result(timeout=15)) == 20

    def test_one_wins_and_the_other_waits_and_keeps_nothing(self):
        is_waiting, one, (other,) = self.race(1, ends_with=lambda: None)

        assert is_waiting
        assert (one.result().data, other) == ({"by": "first"}, None)
        assert OutboxEvent.objects.get() == one.result()

    def test_the_other_wins_where_the_first_is_rolled_back(self):
        is_waiting, one, (other,) = self.race(1, ends_with=lambda: 1 / 0)

        assert is_waiting
        assert isinstance(one.exception(), ZeroDivisionError)
        assert OutboxEvent.objects.get() == other

    @pytest.mark.parametrize(
        "ends_with",
        [
            lambda: None,
            pytest.param(
                lambda: 1 / 0,
                marks=pytest.mark.xfail(
                    connection.vendor == "mysql",
                    reason="InnoDB: those who wait share a lock, and deadlock when the first is rolled back",
                    raises=OperationalError,
                    strict=False,
                ),
            ),
        ],
        ids=["commit", "rollback"],
    )
    def test_exactly_one_of_five_wins_and_none_fails(self, ends_with):
        _, one, others = self.race(4, ends_with)

        rows = [row for row in [None if one.exception() else one.result(), *others] if row]
        assert rows == [OutboxEvent.objects.get()]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class SupersedesTests:
    def bought(self, email=ADA, object_id="cart:1", names=("viewed",)):
        return track("bought", email, object_id=object_id, supersedes=names)

    @pytest.mark.parametrize("email", [ADA, "ADA@Example.com", "ada@EXAMPLE.COM"])
    def test_ends_what_waits_of_the_same_contact_and_object(self, email):
        old = track("viewed", email, object_id="cart:1")

        self.bought()

        row = OutboxEvent.objects.get(pk=old.pk)
        assert (row.status, row.reason) == (Status.CANCELLED, Reason.SUPERSEDED)
        assert ahead(row.finished_at) == pytest.approx(0, abs=10)
        assert waiting() == ["bought"]

    @pytest.mark.parametrize(
        ("name", "email", "object_id"),
        [
            ("viewed", BOB, "cart:1"),
            ("viewed", "áda@example.com", "cart:1"),
            ("viewed", ADA, "cart:2"),
            ("viewed", ADA, "CART:1"),
            ("viewed", ADA, "cart:1 "),
            ("viewed", ADA, None),
            ("Viewed", ADA, "cart:1"),
            ("viewed ", ADA, "cart:1"),
            ("víewed", ADA, "cart:1"),
            ("bought", ADA, "cart:1"),
        ],
    )
    def test_leaves_whatever_is_another_name_contact_or_object(self, name, email, object_id):
        track(name, email, object_id=object_id)

        self.bought()

        assert waiting() == [name, "bought"]

    def test_without_an_object_ends_those_without_one(self):
        track("viewed", ADA)
        track("viewed", ADA, object_id="cart:1")

        self.bought(object_id=None)

        assert [(row.object_id, row.status) for row in OutboxEvent.objects.order_by("pk")] == [
            (None, "cancelled"),
            ("cart:1", "pending"),
            (None, "pending"),
        ]

    def test_ends_all_names_it_is_told_and_what_has_a_delay_too(self):
        for name in ("viewed", "left", "other"):
            track(name, ADA, object_id="cart:1", delay=60)

        self.bought(names=("viewed", "left", "never"))

        assert waiting() == ["other", "bought"]

    def test_ends_its_own_like_but_never_itself(self):
        self.bought(names=("bought",))
        self.bought(names=("bought",))

        assert [status for _, status, _ in states()] == ["cancelled", "pending"]

    def test_ends_nothing_that_is_captured_after_it(self):
        self.bought()
        track("viewed", ADA, object_id="cart:1")

        deliver()

        assert [body["event"] for body in locmem.sent] == ["bought", "viewed"]

    def test_of_many_ends_what_stands_before_it_and_not_what_stands_behind(self):
        track_many(
            [
                Event("viewed", ADA, object_id="cart:1", data={"n": 1}),
                Event("bought", ADA, object_id="cart:1", supersedes=("viewed",)),
                Event("viewed", ADA, object_id="cart:1", data={"n": 2}),
            ]
        )

        assert [status for _, status, _ in states()] == ["cancelled", "pending", "pending"]

    def test_only_marks_what_is_being_sent(self):
        track("viewed", ADA, object_id="cart:1")
        claim(1)
        before = OutboxEvent.objects.values().get()

        self.bought()

        after = OutboxEvent.objects.filter(name="viewed").values().get()
        assert after == {**before, "reason": Reason.SUPERSEDED}

    @pytest.mark.parametrize("status", [Status.SENT, Status.FAILED, Status.CANCELLED])
    def test_leaves_what_has_ended(self, status):
        old = track("viewed", ADA, object_id="cart:1")
        OutboxEvent.objects.update(status=status, reason=Reason.REJECTED, lease_token="token")
        before = OutboxEvent.objects.filter(pk=old.pk).values().get()

        self.bought()

        assert OutboxEvent.objects.filter(pk=old.pk).values().get() == before

    def test_is_rolled_back_with_the_transaction(self):
        track("viewed", ADA, object_id="cart:1")

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            self.bought()
            raise ZeroDivisionError

        assert states() == [("viewed", "pending", "")]
        deliver()
        assert [body["event"] for body in locmem.sent] == ["viewed"]

    def test_sends_only_the_newer_one(self, observe):
        told = []
        observe(event_cancelled, lambda sender, event, **kwargs: told.append((event.name, event.reason)))
        track("viewed", ADA, object_id="cart:1")
        self.bought()

        deliver()

        assert [body["event"] for body in locmem.sent] == ["bought"]
        assert states() == [("viewed", "cancelled", "superseded"), ("bought", "sent", "")]
        assert told == [("viewed", "superseded")]
        assert not OutboxEvent.objects.exclude(due_at=None).exists()

    @pytest.mark.parametrize("names", [("viewed",), ()], ids=str)
    def test_of_many_works_where_the_database_returns_no_keys_of_many_rows(self, monkeypatch, names):
        monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
        track("viewed", ADA, object_id="cart:1")

        rows = track_many([Event("a", ADA), Event("bought", ADA, object_id="cart:1", supersedes=names)])

        assert [row.pk for row in rows] == list(OutboxEvent.objects.exclude(name="viewed").values_list("pk", flat=True))
        assert waiting() == ["a", "bought"] if names else ["viewed", "a", "bought"]

    def test_works_with_a_key_too(self):
        track("viewed", ADA, object_id="cart:1")

        track("bought", ADA, object_id="cart:1", supersedes=("viewed",), idempotency_key="1001")

        assert waiting() == ["bought"]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class ImpliedByTests:
    """An object was opened, then closed or deleted; deleting it implies that it is closed."""

    def opened(self, **options):
        return track("opened", ADA, object_id="x", **options)

    def deleted(self, email=ADA, object_id="x"):
        return track("deleted", email, object_id=object_id, supersedes=("opened", "closed"))

    def closed(self, email=ADA, object_id="x"):
        return track("closed", email, object_id=object_id, implied_by=("deleted", "closed"), supersedes=("opened",))

    @pytest.mark.parametrize("status", [Status.PENDING, Status.SENDING, Status.SENT])
    @pytest.mark.parametrize("name", ["deleted", "closed"])
    def test_keeps_nothing_where_another_one_says_the_same(self, name, status, observe):
        captured = []
        track(name, ADA, object_id="x")
        OutboxEvent.objects.update(status=status)
        observe(event_captured, lambda sender, event, **kwargs: captured.append(event))

        assert self.closed() is None
        assert ([each[0] for each in states()], captured) == ([name], [])

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    def test_keeps_the_event_where_the_other_one_never_reached_brevo(self, status):
        self.deleted()
        OutboxEvent.objects.update(status=status)

        assert self.closed() is not None

    def test_keeps_the_event_where_there_is_no_other(self):
        track("something", ADA, object_id="x")

        assert self.closed() is not None

    @pytest.mark.parametrize("other", [{"email": BOB}, {"object_id": "y"}, {"object_id": None}], ids=str)
    def test_looks_at_the_same_contact_and_object_only(self, other):
        self.deleted()

        assert self.closed(**other) is not None

    @pytest.mark.parametrize("status", [Status.SENDING, Status.SENT])
    def test_keeps_the_event_where_brevo_has_heard_the_contrary_since(self, status):
        self.deleted()
        opened = self.opened()
        OutboxEvent.objects.filter(pk=opened.pk).update(status=status)

        assert self.closed() is not None

    def test_keeps_the_event_where_brevo_may_have_heard_the_contrary_since(self):
        self.deleted()
        opened = self.opened()
        OutboxEvent.objects.filter(pk=opened.pk).update(attempts=1)  # one without an answer, for instance

        assert self.closed() is not None
        assert waiting() == ["deleted", "closed"]

    def test_supersedes_all_the_same_and_wakes_the_engine(self, counting_engine):
        self.deleted()
        self.opened(delay=60)
        self.opened()
        counting_engine.clear()

        assert self.closed() is None
        assert waiting() == ["deleted"]
        assert states(name="opened") == [("opened", "cancelled", "superseded")] * 2
        assert counting_engine == [False]

    def test_looks_past_whatever_else_is_told_of_the_object(self):
        self.deleted()
        track("looked_at", ADA, object_id="x")

        assert self.closed() is None

    def test_is_looked_at_for_each_of_many_in_turn(self):
        closed = Event("closed", ADA, object_id="x", implied_by=("closed",))

        rows = track_many([closed, Event("other", ADA), closed, closed])

        assert [row.name for row in rows] == ["closed", "other"]

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_costs_one_statement_more(self, is_kept):
        if not is_kept:
            self.deleted()

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            track("closed", ADA, object_id="x", implied_by=("deleted",))

            assert statements(queries) == ["SELECT", *(["INSERT"] if is_kept else [])]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.django_db(transaction=True)
class CancelTests:
    def test_ends_what_is_pending_of_a_contact_and_says_how_many(self):
        track("viewed", ADA)
        track("viewed", ADA, object_id="cart:1", delay=60)
        track("viewed", BOB)

        assert cancel(ADA) == 2
        assert states(email=ADA) == [("viewed", "cancelled", "app")] * 2
        assert states(email=BOB) == [("viewed", "pending", "")]
        assert all(ahead(row.finished_at) < 10 for row in OutboxEvent.objects.filter(email=ADA))

    @pytest.mark.parametrize("email", [None, ""])
    def test_without_an_address_cancels_nothing(self, email):
        track("viewed", ADA)

        assert cancel(email) == 0
        assert states(email=ADA) == [("viewed", "pending", "")]

    @pytest.mark.parametrize("email", ["ADA@EXAMPLE.COM", " ada@Example.com\n"])
    def test_finds_the_contact_in_any_letter_case(self, email):
        track("viewed", "Ada@example.com")

        assert cancel(email) == 1

    @pytest.mark.parametrize(
        ("email", "other"), [("a@fußball.de", "a@fussball.de"), ("back@example.com", "bac\u212a@example.com")]
    )
    def test_leaves_alone_whose_address_only_looks_alike(self, email, other):
        track("viewed", email)

        assert cancel(other) == 0
        assert waiting() == ["viewed"]

    @pytest.mark.parametrize(
        ("filters", "left"),
        [
            ({}, []),
            ({"name": "a"}, ["b", "b", "A"]),
            ({"object_id": "x"}, ["a", "b", "A"]),
            ({"name": "b", "object_id": "x"}, ["a", "a", "b", "A"]),
            ({"name": "c"}, ["a", "a", "b", "b", "A"]),
            ({"object_id": "X"}, ["a", "a", "b", "b", "A"]),
            ({"object_id": ""}, ["a", "a", "b", "b", "A"]),
            ({"name": ""}, ["a", "a", "b", "b", "A"]),
        ],
        ids=str,
    )
    def test_ends_only_that_name_and_object(self, filters, left):
        for name, object_id in [("a", None), ("a", "x"), ("b", None), ("b", "x"), ("A", "y")]:
            track(name, ADA, object_id=object_id)

        assert cancel(ADA, **filters) == 5 - len(left)
        assert waiting() == left

    def test_takes_its_filters_by_name_only(self):
        with pytest.raises(TypeError):
            cancel(ADA, "viewed")

    @pytest.mark.parametrize("email", ["nobody@example.com", "", "no address"])
    def test_of_somebody_unknown_is_nothing(self, email, counting_engine):
        track("viewed", ADA)
        counting_engine.clear()

        assert cancel(email) == 0
        assert (waiting(), counting_engine) == (["viewed"], [])

    def test_of_nobody_leaves_alone_what_was_erased(self):
        track("viewed", ADA)
        OutboxEvent.objects.update(contact="", email="", body="{}")

        assert cancel("") == 0

    def test_twice_finds_nothing_left(self):
        track("viewed", ADA)

        assert [cancel(ADA), cancel(ADA)] == [1, 0]

    def test_is_rolled_back_with_the_transaction(self):
        track("viewed", ADA)

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            assert cancel(ADA) == 1
            raise ZeroDivisionError

        assert waiting() == ["viewed"]

    def test_lets_go_on_what_is_being_sent(self):
        track("first", ADA)
        track("second", ADA)
        (claimed,) = claim(1)

        assert cancel(ADA) == 1
        assert states() == [("first", "sending", ""), ("second", "cancelled", "app")]
        assert OutboxEvent.objects.get(pk=claimed.pk).lease_token == claimed.lease_token

    @pytest.mark.parametrize("status", [Status.SENT, Status.FAILED, Status.CANCELLED])
    def test_leaves_what_has_ended(self, status):
        track("viewed", ADA)
        OutboxEvent.objects.update(status=status, reason=Reason.EXPIRED, due_at=None)

        assert cancel(ADA) == 0
        assert states() == [("viewed", status, "expired")]

    def test_nudges_the_engine_after_the_commit(self, counting_engine):
        track("viewed", ADA)
        counting_engine.clear()

        with transaction.atomic():
            cancel(ADA)

            assert counting_engine == []

        assert counting_engine == [False]

    def test_does_not_nudge_after_a_rollback(self, counting_engine):
        track("viewed", ADA)
        counting_engine.clear()

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            cancel(ADA)
            raise ZeroDivisionError

        assert counting_engine == []

    def test_frees_what_waits_behind_it_and_tells_observers(self, observe):
        told = []
        observe(event_cancelled, lambda sender, event, **kwargs: told.append((event.name, event.reason)))
        first = track("first", ADA)
        OutboxEvent.objects.filter(pk=first.pk).update(due_at=now() + dt.timedelta(hours=1))
        track("second", ADA)
        deliver()
        assert (locmem.sent, OutboxEvent.objects.get(name="second").parked) == ([], True)

        cancel(ADA, name="first")
        deliver()

        assert [body["event"] for body in locmem.sent] == ["second"]
        assert told == [("first", "app")]

    def test_works_where_sending_is_not_enabled(self, settings):
        track("viewed", ADA)
        settings.BREVO_EVENTS = {"ENABLED": False, "ENGINE": "worker"}

        assert cancel(ADA) == 1
