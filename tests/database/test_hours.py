from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, hours
from brevo_events.hours import Ended, count_hours
from brevo_events.models import HourlyCount, OutboxEvent, Status

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


def ended(finished_at, status=Status.SENT, count=1):
    row = OutboxEvent.of(Event("viewed", "ada@example.com"))
    fields = {"name": row.name, "email": row.email, "contact": row.contact, "body": row.body}
    rows = [OutboxEvent(**fields, status=status, due_at=None, finished_at=finished_at) for _ in range(count)]
    return OutboxEvent.objects.bulk_create(rows)


def the_last(count):
    """Return the beginnings of that many hours, the current one last."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    return [now - number * HOUR for number in reversed(range(count))]


class CountHoursTests:
    def test_counts_what_was_sent_and_what_failed_in_each_hour(self):
        span = the_last(30)
        ended(span[3], count=3)
        ended(span[3], Status.FAILED, count=2)
        ended(span[28])
        ended(span[5], Status.CANCELLED)

        counts = count_hours(span)

        assert sorted(counts) == span
        assert {hour: count for hour, count in counts.items() if any(count)} == {
            span[3]: Ended(sent=3, failed=2),
            span[28]: Ended(sent=1),
        }

    def test_has_the_first_microsecond_in_the_hour_and_the_last_one_too(self):
        span = the_last(4)
        ended(span[1], count=2)
        ended(span[2] - dt.timedelta(microseconds=1), count=3)
        ended(span[2], count=7)

        counts = count_hours(span)

        assert [counts[hour].sent for hour in span] == [0, 5, 7, 0]

    def test_begins_an_hour_where_the_caller_does(self):
        span = [hour + dt.timedelta(minutes=30) for hour in the_last(4)[:-1]]
        ended(span[1] - dt.timedelta(minutes=1))
        ended(span[1] + dt.timedelta(minutes=59), count=2)

        for _ in range(2):
            counts = count_hours(span)
            assert [counts[hour].sent for hour in span] == [1, 2, 0]

    def test_counts_an_hour_that_is_over_only_once(self):
        span = the_last(50)
        ended(span[3], count=3)
        first = count_hours(span)

        with CaptureQueriesContext(connection) as queries:
            second = count_hours(span)

        assert first == second
        assert len(queries) == 3
        assert HourlyCount.objects.count() in (48, 49)

    def test_counts_the_current_hour_anew(self):
        span = the_last(2)
        ended(span[-1])
        before = count_hours(span)
        ended(span[-1])

        after = count_hours(span)

        assert (before[span[-1]].sent, after[span[-1]].sent) == (1, 2)

    def test_keeps_no_hour_that_has_hardly_ended(self, monkeypatch):
        span = the_last(3)
        monkeypatch.setattr(hours, "SETTLED", HOUR)

        count_hours(span)

        assert [row.hour for row in HourlyCount.objects.all()] == [span[0]]

    def test_still_counts_what_was_pruned_or_resent_since(self):
        span = the_last(5)
        ended(span[1], Status.FAILED)
        gone = ended(span[1])
        count_hours(span)

        OutboxEvent.objects.filter(pk=gone[0].pk).delete()
        OutboxEvent.objects.filter(status=Status.FAILED).update(status=Status.PENDING, finished_at=None)

        assert count_hours(span)[span[1]] == Ended(sent=1, failed=1)

    def test_counts_all_anew_after_an_import(self):
        span = the_last(5)
        ended(span[2])
        count_hours(span)

        ended(span[1], count=4)

        assert [count_hours(span)[hour].sent for hour in span] == [0, 4, 1, 0, 0]
        with CaptureQueriesContext(connection) as queries:
            assert [count_hours(span)[hour].sent for hour in span] == [0, 4, 1, 0, 0]
        assert not [query for query in queries if query["sql"].startswith("DELETE")]

    def test_goes_on_another_time_where_it_takes_too_long(self, monkeypatch):
        span = the_last(60)
        ended(span[0])
        ended(span[50])
        monkeypatch.setattr(hours, "PATIENCE", -1)

        passes = [count_hours(span) for _ in range(3)]

        assert [len(counts) for counts in passes] == [24, 47, 60] or [len(counts) for counts in passes] == [24, 46, 60]
        assert passes[0][span[50]].sent == 1
        assert span[0] not in passes[1]
        assert passes[2][span[0]].sent == 1

    def test_forgets_what_nobody_asks_for_any_more(self):
        span = the_last(5)
        HourlyCount.objects.create(hour=span[0] - 4 * 24 * HOUR, sent=1, failed=0, newest=0)
        HourlyCount.objects.create(hour=span[0] - 2 * 24 * HOUR, sent=1, failed=0, newest=0)

        count_hours(span)

        assert HourlyCount.objects.order_by("hour").first().hour == span[0] - 2 * 24 * HOUR

    def test_takes_what_somebody_else_counted_meanwhile(self, monkeypatch):
        span = the_last(5)
        ended(span[1])
        count = hours._count

        def count_twice(batch):
            HourlyCount.objects.bulk_create([HourlyCount(hour=span[1], sent=1, failed=0, newest=99)])
            return count(batch)

        monkeypatch.setattr(hours, "_count", count_twice)

        assert count_hours(span)[span[1]] == Ended(sent=1)
        assert HourlyCount.objects.filter(hour=span[1]).count() == 1
