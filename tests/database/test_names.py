from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event
from brevo_events import names as module
from brevo_events.choices import Reason, Status
from brevo_events.models import OutboxEvent
from brevo_events.names import names, percentile

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)
BODY = Event("viewed", "ada@example.com").json()


def ended(name, *hours_ago, status=Status.SENT, took=1.0, **more):
    """Keep events that ended so many hours ago, each captured some seconds before."""
    now = timezone.now()
    events = []
    for hours in hours_ago:
        finished_at = now - hours * HOUR
        captured = {"created_at": finished_at - dt.timedelta(seconds=took), "finished_at": finished_at, "due_at": None}
        events.append(OutboxEvent(name=name, email="ada@example.com", body=BODY, status=status, **captured, **more))
    OutboxEvent.objects.bulk_create(events)


def row_of(name, **more):
    return next(row for row in names(**more).rows if row.name == name)


class CountsTests:
    def test_are_of_a_week_and_of_each_name(self):
        ended("bought", 1, 2, 200)
        ended("viewed", 3)
        ended("bought", 100, status=Status.FAILED)
        ended("bought", 5, status=Status.CANCELLED, reason=Reason.SUPERSEDED)
        ended("viewed", 5, status=Status.CANCELLED, reason=Reason.OPERATOR)

        found = names()

        assert [(row.name, row.accepted, row.failed, row.saved) for row in found.rows] == [
            ("bought", 2, 1, 1),
            ("viewed", 1, 0, 0),
        ]
        assert found.rows[0].failed_share == pytest.approx(1 / 3)
        assert (found.saved, found.is_saved_capped, found.is_capped) == (1, False, False)
        assert timezone.now() - found.since == pytest.approx(dt.timedelta(days=7), abs=dt.timedelta(minutes=1))

    def test_are_a_rate_since_the_first_event_of_a_young_outbox(self):
        ended("bought", *[10 * part for part in range(1, 5)])

        found = names()

        assert found.per_hour(4) == pytest.approx(0.1, rel=0.01)
        assert timezone.now() - found.since == pytest.approx(7 * 24 * HOUR, abs=dt.timedelta(minutes=1))

    def test_of_the_first_day_are_not_blown_up_to_a_rate(self):
        ended("bought", 0.01)

        assert names().per_hour(24) == 1

    def test_are_of_the_newest_accepted_events_if_there_are_many(self, monkeypatch):
        monkeypatch.setattr(module, "NEWEST", 3)
        ended("bought", 1, 2, 3, 4, 5)
        ended("bought", 2.5, 4.5, status=Status.FAILED)

        found = names()

        assert found.is_capped
        assert found.per_hour(3) == pytest.approx(1, rel=0.01)
        assert (found.rows[0].accepted, found.rows[0].failed) == (3, 1)
        assert timezone.now() - found.since == pytest.approx(3 * HOUR, abs=dt.timedelta(minutes=1))

    def test_of_what_was_saved_are_of_the_newest_cancelled_events(self, monkeypatch):
        monkeypatch.setattr(module, "NEWEST", 2)
        ended("bought", 1, 2, 3, status=Status.CANCELLED, reason=Reason.SUPERSEDED)

        found = names()

        assert (found.saved, found.is_saved_capped) == (2, True)

    def test_name_a_failing_name_too_and_no_more_than_are_shown(self, monkeypatch):
        ended("viewed", 1, status=Status.FAILED)
        assert [(row.name, row.accepted_at) for row in names().rows] == [("viewed", None)]

        monkeypatch.setattr(module, "SHOWN", 1)
        ended("bought", 1, 2)
        assert [row.name for row in names().rows] == ["bought"]

    def test_of_an_empty_outbox_are_none(self):
        assert names().rows == []
        assert names().per_hour(0) == 0

    def test_take_six_statements(self):
        for number in range(3):
            ended(f"name {number}", 1, 100)

        with CaptureQueriesContext(connection) as queries:
            names()

        assert len(queries) == 6


class TimesTests:
    def test_are_from_capture_to_acceptance_of_each_name(self):
        for took in range(1, 101):
            ended("bought", 1, took=took)
        ended("viewed", 2, took=7)
        ended("viewed", 1, took=500, status=Status.FAILED)

        assert (row_of("bought").median, row_of("bought").percentile_95) == (50, 95)
        assert (row_of("viewed").median, row_of("viewed").percentile_95) == (7, 7)

    def test_are_of_the_newest_only(self, monkeypatch):
        monkeypatch.setattr(module, "TIMED", 2)
        ended("bought", 5, took=1000)
        ended("bought", 1, 2, took=3)

        assert row_of("bought").percentile_95 == 3

    def test_of_a_name_that_was_not_accepted_lately_are_none(self):
        ended("bought", 1, status=Status.FAILED)

        assert row_of("bought").median is None

    @pytest.mark.parametrize(("values", "expected"), [([], None), ([7], 7), ([1, 2, 3], 2), ([1, 2, 3, 4], 2)])
    def test_are_a_value_that_there_was(self, values, expected):
        assert percentile(values, 50) == expected


class QuietTests:
    REGULARLY = tuple(range(30, 30 + 15 * 24, 24))  # once a day, the last time 30 hours ago

    def test_is_a_name_that_came_regularly_and_has_stopped(self):
        ended("daily", *[hours + 30 for hours in self.REGULARLY])
        ended("bought", *[hours - 20 for hours in self.REGULARLY])

        first, second = names().rows

        assert (first.name, first.is_quiet) == ("daily", True)
        assert timezone.now() - first.seen_at == pytest.approx(60 * HOUR, abs=dt.timedelta(minutes=1))
        assert (second.name, second.is_quiet) == ("bought", False)

    def test_is_none_before_it_has_been_silent_twice_as_long_as_ever(self):
        ended("daily", *self.REGULARLY)
        ended("weekdays", *[hours + 60 for hours in self.REGULARLY if hours % (7 * 24) > 48])

        assert not any(row.is_quiet for row in names().rows)

    def test_is_none_for_half_a_day(self):
        ended("often", *[11 + hour for hour in range(100)])

        assert not row_of("often").is_quiet

    def test_is_what_came_each_hour_after_half_a_day(self):
        ended("often", *[14 + hour for hour in range(100)])

        assert row_of("often").is_quiet

    def test_is_no_name_that_came_seldom(self):
        ended("seldom", *self.REGULARLY[8:])

        assert not row_of("seldom").is_quiet

    @pytest.mark.parametrize(
        "came", [{"status": Status.FAILED}, {"status": Status.CANCELLED, "reason": Reason.SUPERSEDED}]
    )
    def test_is_no_name_whose_events_still_come(self, came):
        ended("daily", *[hours + 60 for hours in self.REGULARLY])
        assert row_of("daily").is_quiet

        ended("daily", 1, **came)

        assert not row_of("daily").is_quiet
        assert row_of("daily").accepted_at < timezone.now() - 80 * HOUR

    def test_is_no_name_whose_events_wait(self):
        ended("daily", *[hours + 60 for hours in self.REGULARLY])

        assert not row_of("daily", waiting={"daily"}).is_quiet

    def test_is_seen_in_a_sample_of_a_busy_month(self, monkeypatch):
        monkeypatch.setattr(module, "NEWEST", 4)
        monkeypatch.setattr(module, "OF_PART", 2)
        ended("daily", *[hours + 60 for hours in self.REGULARLY])
        ended("often", *[hour + 0.5 for hour in range(200)])

        found = names()

        assert found.is_capped
        assert [(row.name, row.is_quiet) for row in found.rows] == [("daily", True), ("often", False)]
