from __future__ import annotations

import datetime as dt
import json

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event
from brevo_events import figures as module
from brevo_events.figures import Failure, collect, figures
from brevo_events.models import OutboxEvent, SendAttempt, Status

pytestmark = pytest.mark.django_db
PARIS, KOLKATA = "Europe/Paris", "Asia/Kolkata"


@pytest.fixture(autouse=True)
def _uncached():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def at(monkeypatch):
    """Set the clock of the host."""

    def set_to(*moment):
        now = dt.datetime(*moment, tzinfo=dt.UTC)
        monkeypatch.setattr(timezone, "now", lambda: now)
        return now

    return set_to


def captured(count=1, name="viewed", status=Status.PENDING, **more):
    row = OutboxEvent.of(Event(name, "ada@example.com"))
    fields = {"name": name, "email": row.email, "contact": row.contact, "body": row.body, "status": status, **more}
    if status not in (Status.PENDING, Status.SENDING):
        fields.setdefault("due_at", None)
    return OutboxEvent.objects.bulk_create([OutboxEvent(**fields) for _ in range(count)])


def sent(*moment, count=1):
    captured(count, status=Status.SENT, finished_at=dt.datetime(*moment, tzinfo=dt.UTC))


def attempt(event, code=204, duration=10, error="", message="", code_of_brevo=""):
    answer = json.dumps({"code": code_of_brevo, "message": message}) if message else ""
    values = {"started_at": timezone.now(), "duration_ms": duration, "response_code": code, "error": error}
    return SendAttempt.objects.create(event=event, answer=answer, **values)


def failed(name="viewed", code=400, error="invalid_parameter", message="No such contact", count=1):
    for event in captured(count, name, Status.FAILED, finished_at=timezone.now(), response_code=code):
        attempt(event, code, error=error, message=message)


class SpansTests:
    def test_are_the_last_day_and_the_last_month_with_the_current_hour_last(self, at):
        at(2026, 3, 15, 14, 20)

        with timezone.override("UTC"):
            found = collect()

        assert [len(found.hours), len(found.days)] == [24, 30]
        assert found.hours[0].start == dt.datetime(2026, 3, 14, 15, tzinfo=dt.UTC)
        assert found.hours[-1].start == dt.datetime(2026, 3, 15, 14, tzinfo=dt.UTC)
        assert found.days[0].start == dt.datetime(2026, 2, 14, tzinfo=dt.UTC)
        assert found.days[-1].start == dt.datetime(2026, 3, 15, tzinfo=dt.UTC)

    @pytest.mark.parametrize(("zone", "expected"), [("UTC", (7, 0)), (PARIS, (2, 5)), (KOLKATA, (1, 6))])
    def test_go_by_the_days_of_the_time_zone(self, at, zone, expected):
        at(2026, 3, 15, 14, 20)
        sent(2026, 3, 14, 18, 29, 59, 999999)  # 23:59 in Kolkata
        sent(2026, 3, 14, 22, 59, 59)  # 23:59 in Paris, 04:29 in Kolkata
        sent(2026, 3, 14, 23, 0, 0, count=5)  # midnight in Paris

        with timezone.override(zone):
            days = {timezone.localtime(day.start).date(): day.sent for day in collect().days}

        assert (days[dt.date(2026, 3, 14)], days[dt.date(2026, 3, 15)]) == expected
        assert sum(days.values()) == 7

    def test_go_by_the_hours_of_a_zone_between_the_hours(self, at):
        at(2026, 3, 15, 14, 20)  # 19:50 in Kolkata
        sent(2026, 3, 15, 13, 29, 59)
        sent(2026, 3, 15, 13, 30, 0, count=2)

        with timezone.override(KOLKATA):
            hours = {timezone.localtime(hour.start).hour: hour.sent for hour in collect().hours}

        assert (hours[18], hours[19]) == (1, 2)

    def test_lose_nothing_on_the_days_that_have_23_or_25_hours(self, at):
        at(2026, 3, 29, 21, 30)  # the clock went from 2 to 3 this morning in Paris
        sent(2026, 3, 28, 22, 30)
        sent(2026, 3, 28, 23, 30, count=2)
        sent(2026, 3, 29, 0, 59)
        sent(2026, 3, 29, 1, 1)
        with timezone.override(PARIS):
            spring = collect()
        at(2026, 10, 25, 22, 30)
        sent(2026, 10, 24, 21, 59)
        sent(2026, 10, 24, 22, 0, count=3)
        sent(2026, 10, 25, 0, 30)
        sent(2026, 10, 25, 1, 30)
        with timezone.override(PARIS):
            autumn = collect()

        assert [day.sent for day in spring.days[-2:]] == [1, 4]
        assert [day.sent for day in autumn.days[-2:]] == [1, 5]
        assert len(spring.days) == len(autumn.days) == 30

    def test_count_what_waits_by_the_time_of_its_capture(self, at):
        now = at(2026, 3, 15, 14, 20)
        for number in (2, 3):
            captured(number, created_at=now - number * dt.timedelta(hours=1), due_at=now)
        captured(created_at=now - dt.timedelta(days=3), due_at=now, status=Status.SENDING)
        captured(created_at=now - dt.timedelta(days=90), due_at=now)
        captured(status=Status.FAILED, created_at=now, finished_at=now)

        with timezone.override("UTC"):
            found = collect()

        assert found.waiting == 7
        assert {hour.start.hour: hour.waiting for hour in found.hours if hour.waiting} == {12: 2, 11: 3}
        assert {day.start.day: day.waiting for day in found.days if day.waiting} == {15: 5, 12: 1}

    def test_count_nothing_as_waiting_that_a_user_has_ended_and_no_worker_has_settled(self):
        captured()
        captured(2, status=Status.CANCELLED, reason="operator", due_at=timezone.now())

        assert collect().waiting == 1

    def test_share_out_what_waits_where_there_is_much_of_it(self, at, monkeypatch):
        now = at(2026, 3, 15, 14, 20)
        monkeypatch.setattr(module, "WAITING_SAMPLE", 10)
        captured(31, created_at=now - dt.timedelta(hours=5), due_at=now)
        captured(62, created_at=now, due_at=now)

        waiting = [hour.waiting for hour in collect().hours if hour.waiting]

        assert sum(waiting) == 93
        assert abs(waiting[0] - 31) <= 10

    def test_count_what_waits_up_to_a_limit(self, monkeypatch):
        monkeypatch.setattr(module, "WAITING_LIMIT", 3)
        captured(5)

        assert collect().waiting == 3


class RequestsTests:
    def test_of_the_newest_give_median_and_percentile_of_the_answers(self):
        (event,) = captured()
        for duration in range(1, 101):
            attempt(event, duration=duration)
        attempt(event, None, 20_000, "timeout")

        requests = collect().requests

        assert (requests.median, requests.percentile_95, requests.count) == (50, 95, 101)

    @pytest.mark.parametrize(
        ("durations", "median", "high"), [([], None, None), ([7], 7, 7), ([3, 1], 1, 3), ([5, 1, 3], 3, 5)]
    )
    def test_of_few_give_a_time_that_there_was(self, durations, median, high):
        (event,) = captured()
        for duration in durations:
            attempt(event, duration=duration)

        requests = collect().requests

        assert (requests.median, requests.percentile_95) == (median, high)

    def test_are_counted_by_code_and_by_kind_of_failure(self):
        (event,) = captured()
        for code, error in [(204, ""), (204, ""), (400, "a"), (400, "b"), (400, "a"), (None, "timeout"), (None, "dns")]:
            attempt(event, code, error=error)

        codes = collect().requests.codes

        assert codes[:2] == [(400, "", 3), (204, "", 2)]
        assert sorted(codes[2:]) == [(None, "dns", 1), (None, "timeout", 1)]

    def test_are_only_the_newest(self, monkeypatch):
        monkeypatch.setattr(module, "NEWEST_REQUESTS", 3)
        (event,) = captured()
        attempt(event, 500, 9999)
        for _ in range(3):
            attempt(event, 204, 5)

        requests = collect().requests

        assert requests.codes == [(204, "", 3)]
        assert requests.percentile_95 == 5


class FailuresTests:
    def test_are_counted_by_name_code_and_message_the_worst_first(self):
        failed("viewed", count=2)
        failed("bought", count=3)
        failed("viewed", message="Too large")

        assert collect().failures == [
            Failure("bought", 400, "invalid_parameter", "No such contact", 3),
            Failure("viewed", 400, "invalid_parameter", "No such contact", 2),
            Failure("viewed", 400, "invalid_parameter", "Too large", 1),
        ]

    def test_are_alike_but_for_the_address_and_do_not_show_it(self):
        for address in ("ada@example.com", "bob@example.com"):
            failed(message=f'"{address}" is on the blocklist <{address}>')

        assert [(f.message, f.count) for f in collect().failures] == [('"…@…" is on the blocklist <…@…>', 2)]

    def test_go_by_the_last_answer(self):
        (event,) = captured(1, "viewed", Status.FAILED, finished_at=timezone.now(), response_code=400)
        attempt(event, 503, message="Later")
        attempt(event, 400, error="invalid_parameter", message="Wrong")

        (failure,) = collect().failures

        assert (failure.error, failure.message) == ("invalid_parameter", "Wrong")

    def test_without_any_attempt_have_no_message(self):
        captured(1, "viewed", Status.FAILED, finished_at=timezone.now())

        assert collect().failures == [Failure("viewed", None, "", "", 1)]

    def test_are_of_the_last_month(self):
        captured(1, "viewed", Status.FAILED, finished_at=timezone.now() - dt.timedelta(days=40))

        assert collect().failures == []


class CacheTests:
    def test_keeps_the_figures_for_a_minute(self, monkeypatch):
        kept = {}
        monkeypatch.setattr(cache, "set", lambda key, value, seconds: kept.update({key: seconds}))
        monkeypatch.setattr(cache, "get", lambda key: None)

        figures()

        assert list(kept.values()) == [60]

    def test_asks_the_database_once(self):
        figures()
        captured()

        with CaptureQueriesContext(connection) as queries:
            assert figures().waiting == 0
        assert len(queries) == 0

    def test_is_of_one_time_zone(self):
        with timezone.override(KOLKATA):
            here = figures()
        with timezone.override("UTC"):
            there = figures()

        assert here.hours[-1].start.minute == 30
        assert there.hours[-1].start.minute == 0

    def test_keeps_nothing_that_is_not_complete(self, monkeypatch):
        monkeypatch.setattr("brevo_events.hours.PATIENCE", -1)

        assert not figures().is_complete
        assert not figures().is_complete
        assert any(figures().is_complete for _ in range(40))


class QueriesTests:
    def test_are_as_many_for_many_events_as_for_none(self):
        collect()  # counts the hours that are over
        counts = []
        for number in (0, 1, 30):
            for index in range(number):
                failed(f"event {index}")
                captured()
            with CaptureQueriesContext(connection) as queries:
                collect()
            counts.append(len(queries))

        assert counts[1] == counts[2] == 10
        assert counts[0] <= 10

    def test_of_an_empty_outbox_find_nothing(self):
        found = collect()

        assert (found.waiting, found.last_sent_at, found.failures, found.requests.codes) == (0, None, [], [])
        assert not any((span.sent, span.failed, span.waiting) != (0, 0, 0) for span in found.hours + found.days)
        assert found.is_complete
