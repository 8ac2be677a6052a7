from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from brevo_events import Event, track, track_many
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.fields import ExactCharField, ExactTextField
from brevo_events.models import Gate, OutboxEvent

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("by_hand")]

PAIRS = [
    ("Cart_Updated", "cart_updated"),
    ("josé", "jose"),
    ("jose\u0301", "josé"),
    ("straße", "strasse"),
    ("cart:1", "cart:1 "),
    ("🛒", "🎁"),
    ("ﬁ", "fi"),
]


def read(**expressions):
    """Return what the database computes, in one statement."""
    Gate.objects.get_or_create(pk=1)
    return Gate.objects.annotate(**expressions).values(*expressions).get(pk=1)


@contextmanager
def session_in(zone):
    """Give the connection another time zone."""
    statements = {"mysql": "SET time_zone = %s", "postgresql": "SET LOCAL TIME ZONE %s"}
    if connection.vendor not in statements:
        pytest.skip("SQLite's sessions have no time zone.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@session.time_zone" if connection.vendor == "mysql" else "SHOW TIME ZONE")
        (before,) = cursor.fetchone()
        cursor.execute(statements[connection.vendor], [zone])
        try:
            yield
        finally:
            cursor.execute(statements[connection.vendor], [before])


class ExactTextTests:
    @pytest.mark.parametrize(("one", "other"), PAIRS, ids=ascii)
    @pytest.mark.parametrize("field", ["name", "object_id"])
    def test_is_found_by_itself_only(self, field, one, other):
        for value in (one, other):
            OutboxEvent.of(Event(**{"name": "a", "email": "a@b.de", field: value})).save()

        assert [getattr(event, field) for event in OutboxEvent.objects.filter(**{field: one})] == [one]
        assert [getattr(event, field) for event in OutboxEvent.objects.filter(**{f"{field}__in": [other]})] == [other]
        assert OutboxEvent.objects.exclude(**{field: one}).count() == 1

    @pytest.mark.parametrize(("one", "other"), PAIRS, ids=ascii)
    def test_is_counted_apart(self, one, other):
        track_many([Event(one, "a@b.de"), Event(other, "a@b.de"), Event(one, "a@b.de")])

        counts = OutboxEvent.objects.values_list("name").annotate(models.Count("pk"))
        assert dict(counts) == {one: 2, other: 1}

    def test_is_compared_exactly_from_column_to_column(self):
        track_many([Event("josé", "a@b.de", object_id="jose"), Event("ada", "a@b.de", object_id="ada")])

        assert [event.name for event in OutboxEvent.objects.filter(name=models.F("object_id"))] == ["ada"]

    def test_comes_back_as_it_went_in(self):
        text = " Zoë 🛒 漢字 \\ ' \" % _ e\u0301 \U0010ffff "
        lines = f"{text} \t\r\n \x1b \x85 \u2028"
        OutboxEvent.of(Event(text, "a@b.de", object_id=text, data={"x": lines})).save()

        event = OutboxEvent.objects.get()
        assert (event.name, event.object_id, event.data) == (text, text, {"x": lines})

    def test_takes_the_longest_body_name_and_address(self):
        longest = Event("é" * 255, "é" * 242 + "@example.com", object_id="🛒" * 255, data={"x": "é" * 23_500})
        OutboxEvent.of(longest).save()

        assert OutboxEvent.objects.get().body == longest.json()


class ContactTests:
    def test_with_another_accent_is_another(self):
        track_many([Event("a", "josé@example.com"), Event("a", "jose@example.com")])

        assert [event.email for event in OutboxEvent.objects.of_contact("josé@example.com")] == ["josé@example.com"]
        assert [event.email for event in OutboxEvent.objects.of_contact("jose@example.com")] == ["jose@example.com"]
        assert [event.email for event in OutboxEvent.objects.filter(email="jose@example.com")] == ["jose@example.com"]

    def test_in_another_case_is_the_same(self):
        track_many([Event("a", "José@Example.com"), Event("a", "josé@example.COM")])

        assert OutboxEvent.objects.of_contact("JOSÉ@EXAMPLE.COM").count() == 2
        assert OutboxEvent.objects.filter(email="José@Example.com").count() == 1


class ClockTests:
    def test_is_utc_and_about_now(self):
        assert abs(read(now=UtcNow())["now"] - datetime.now(UTC)) < timedelta(seconds=5)

    @pytest.mark.parametrize("zone", ["+05:00", "-07:00"])
    def test_is_utc_in_whatever_zone_the_session_is(self, zone):
        if connection.vendor == "postgresql":
            pytest.importorskip("psycopg", reason="With psycopg2, Django reads every time as UTC.")
        with session_in(zone):
            moments = read(now=UtcNow(), soon=in_seconds(60))

        assert abs(moments["now"] - datetime.now(UTC)) < timedelta(seconds=5)
        assert abs(moments["soon"] - datetime.now(UTC)) < timedelta(seconds=65)

    @pytest.mark.parametrize("zone", ["+05:00", "-07:00"])
    def test_is_written_in_utc_in_whatever_zone_the_session_is(self, zone):
        track("a", "a@b.de")
        with session_in(zone):
            OutboxEvent.objects.update(available_at=UtcNow(), due_at=in_seconds(60))

        event = OutboxEvent.objects.get()
        assert abs(event.available_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert timedelta(seconds=55) < event.due_at - datetime.now(UTC) < timedelta(seconds=65)

    def test_goes_on_inside_a_transaction(self):
        with transaction.atomic():
            first = read(now=UtcNow())["now"]
            time.sleep(0.05)
            second = read(now=UtcNow())["now"]

        assert timedelta(seconds=0.03) < second - first < timedelta(seconds=5)

    @pytest.mark.parametrize("seconds", [0, 0.5, 90, -90, 86_400, 86_400 * 400])
    def test_counts_seconds_from_now(self, seconds):
        moments = read(now=UtcNow(), then=in_seconds(seconds))

        assert abs((moments["then"] - moments["now"]).total_seconds() - seconds) < 0.01

    def test_is_written_and_compared_as_one(self):
        track_many([Event("late", "a@b.de"), Event("early", "a@b.de"), Event("never", "a@b.de")])
        for name, due_at in (("late", in_seconds(60)), ("early", in_seconds(-1)), ("never", None)):
            OutboxEvent.objects.filter(name=name).update(due_at=due_at)

        assert [event.name for event in OutboxEvent.objects.due()] == ["early"]

    def test_is_the_default_of_a_new_row(self):
        OutboxEvent.of(Event("a", "a@b.de")).save()

        event = OutboxEvent.objects.get()
        assert event.created_at == event.due_at == event.available_at
        assert abs(event.created_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert [each.pk for each in OutboxEvent.objects.due()] == [event.pk]


class ColumnTests:
    @isolate_apps("tests.shop")
    def test_needs_no_option_in_a_migration(self):
        class Sample(models.Model):
            short = ExactCharField(max_length=5)
            long = ExactTextField()

            class Meta:
                app_label = "shop"

        short, long = Sample._meta.get_field("short"), Sample._meta.get_field("long")
        assert short.deconstruct()[1:] == ("brevo_events.fields.ExactCharField", [], {"max_length": 5})
        assert long.deconstruct()[1:] == ("brevo_events.fields.ExactTextField", [], {})
        assert bool(short.db_parameters(connection)["collation"]) == (connection.vendor == "mysql")
