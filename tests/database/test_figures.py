from __future__ import annotations

import datetime as dt
import json
import time

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event
from brevo_events import figures as module
from brevo_events.addresses import without_addresses
from brevo_events.answers import Answer
from brevo_events.figures import collect, figures, newest_requests
from brevo_events.models import OutboxEvent, SendAttempt, Status

pytestmark = pytest.mark.django_db
PARIS, KOLKATA = "Europe/Paris", "Asia/Kolkata"


@pytest.fixture(autouse=True)
def _uncached(monkeypatch):
    monkeypatch.setattr("brevo_events.hours.PATIENCE", 600)  # also on a busy machine
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
    now = timezone.now()
    answer = Answer(code, json.dumps({"code": error, "message": message}))
    ended = {"finished_at": now, "failed_at": now, "failure": answer.fingerprint, "response_code": code}
    for event in captured(count, name, Status.FAILED, **ended):
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

    def test_end_where_the_next_begins(self, at):
        at(2026, 3, 29, 12, 0)  # a day of 23 hours in Paris

        with timezone.override(PARIS):
            found = collect()

        for spans in (found.hours, found.days):
            assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
        assert found.hours[-1].end == dt.datetime(2026, 3, 29, 13, tzinfo=dt.UTC)
        assert found.days[-1].end - found.days[-1].start == dt.timedelta(hours=23)

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

    def test_count_what_waits_exactly_if_there_is_much_of_it(self, at):
        now = at(2026, 3, 15, 14, 20)
        captured(31, created_at=now - dt.timedelta(hours=5), due_at=now)
        captured(62, created_at=now, due_at=now)

        assert [hour.waiting for hour in collect().hours if hour.waiting] == [31, 62]

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

        found = newest_requests()

        assert (found.median, found.percentile_95, found.count) == (50, 95, 101)

    @pytest.mark.parametrize(
        ("durations", "median", "high"), [([], None, None), ([7], 7, 7), ([3, 1], 1, 3), ([5, 1, 3], 3, 5)]
    )
    def test_of_few_give_a_time_that_there_was(self, durations, median, high):
        (event,) = captured()
        for duration in durations:
            attempt(event, duration=duration)

        found = newest_requests()

        assert (found.median, found.percentile_95) == (median, high)

    def test_are_counted_by_code_and_by_kind_of_failure(self):
        (event,) = captured()
        for code, error in [(204, ""), (204, ""), (400, "a"), (400, "b"), (400, "a"), (None, "timeout"), (None, "dns")]:
            attempt(event, code, error=error)

        codes = newest_requests().codes

        assert codes[:2] == [(400, "", 3), (204, "", 2)]
        assert sorted(codes[2:]) == [(None, "dns", 1), (None, "timeout", 1)]

    def test_are_only_the_newest(self, monkeypatch):
        monkeypatch.setattr(module, "NEWEST_REQUESTS", 3)
        (event,) = captured()
        attempt(event, 500, 9999)
        for _ in range(3):
            attempt(event, 204, 5)

        found = newest_requests()

        assert found.codes == [(204, "", 3)]
        assert found.percentile_95 == 5


class FailuresTests:
    def test_are_the_groups_of_the_last_month(self):
        failed("viewed", count=2)
        failed("bought", message="Too large")
        OutboxEvent.objects.filter(name="bought").update(failed_at=timezone.now() - dt.timedelta(days=40))

        assert [(group.message, group.failed) for group in collect().failures] == [("No such contact", 2)]

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("ada@example.com is blocked", "…@… is blocked"),
            ("blocked: <ada@example.com>, 'bob@example.com'", "blocked: <…@…>, '…@…'"),
            ("a@b@c x@y", "…@… …@…"),
            ("price @ 5, @ada, ada@ and @", "price @ 5, @ada, ada@ and @"),
            ("", ""),
        ],
    )
    def test_every_address_in_a_message_is_blotted_out(self, text, shown):
        assert without_addresses(text) == shown

    def test_a_long_message_without_a_space_is_searched_for_addresses_in_no_time(self):
        began = time.monotonic()

        without_addresses("x" * 50_000 + " " + "x@" * 25_000)

        assert time.monotonic() - began < 1


class CacheTests:
    def test_keeps_the_figures_for_a_moment(self, monkeypatch):
        kept = {}
        monkeypatch.setattr(cache, "set", lambda key, value, seconds: kept.update({key: seconds}))
        monkeypatch.setattr(cache, "get", lambda key: None)

        figures()

        assert list(kept.values()) == [10]

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

        assert counts[1] == counts[2] == 16
        assert counts[0] <= 16

    def test_of_an_empty_outbox_find_nothing(self):
        found = collect()

        assert (found.waiting, found.failures, newest_requests().codes) == (0, [], [])
        assert not any((span.sent, span.failed, span.waiting) != (0, 0, 0) for span in found.hours + found.days)
        assert found.is_complete
