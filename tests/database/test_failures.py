from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.core.cache import cache
from django.core.management import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, cancel, privacy, track, track_many
from brevo_events.answers import Answer, alike, meaning
from brevo_events.choices import Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.failures import failure_groups, with_message
from brevo_events.models import OutboxEvent, SendAttempt
from brevo_events.testing import Reply
from tests.browsing import (
    ADA,
    BOB,
    EVE,
    LIST,
    confirm,
    facts_of,
    hidden,
    messages_of,
    root,
    staff,
    statuses_of,
    text_of,
)
from tests.commands import run
from tests.deliveries import answered, claim, record


@pytest.fixture
def _by_hand(settings):
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


def refusal(status=400, code="invalid_parameter", message="Contact is blocklisted"):
    return Answer(status, json.dumps({"code": code, "message": message}))


def failed(name="viewed", email=ADA, status=400, code="invalid_parameter", message="Contact is blocklisted", ago=0):
    """Return an event that Brevo has refused."""
    event = track(name, email)
    answer = refusal(status, code, message)
    moment = timezone.now() - dt.timedelta(seconds=ago)
    OutboxEvent.objects.filter(pk=event.pk).update(
        status=Status.FAILED,
        reason=Reason.REJECTED,
        response_code=status,
        due_at=None,
        finished_at=moment,
        failed_at=moment,
        failure=answer.fingerprint,
    )
    attempt = {"started_at": moment, "duration_ms": 1, "response_code": status, "error": answer.code}
    SendAttempt.objects.create(event=event, answer=answer.body, **attempt)
    return OutboxEvent.objects.get(pk=event.pk)


class FingerprintTests:
    @pytest.mark.parametrize(
        ("message", "other"),
        [
            ("Contact ada@example.com is blocklisted", "Contact bob@example.org is blocklisted"),
            ("items[0].quantity is out of range", "items[17].quantity is out of range"),
            ('"red shirt" is no number', '"blue shoe" is no number'),
            ("“red” is no colour", "“blue” is no colour"),
            ("'red shirt' is no number", "'blue shoe' is no number"),
            ("total 12.50 is wrong", "total 1,300.75 is wrong"),
            (
                "request 8f14e45f-ceea-467f-a0a2-1b2c3d4e5f60 failed",
                "request 0b8c3a8e-1111-467f-b0a2-aaaa3d4e5f60 failed",
            ),
            ("Contact  is\nblocklisted", "contact is blocklisted"),
        ],
    )
    def test_is_the_same_for_alike_messages(self, message, other):
        assert refusal(message=message).fingerprint == refusal(message=other).fingerprint

    @pytest.mark.parametrize(
        "other",
        [
            {"status": 422},
            {"code": "out_of_range"},
            {"message": "Contact isn't known, isn't it"},
            {"message": "items[0].price is out of range"},
        ],
    )
    def test_differs_with_status_code_and_words(self, other):
        assert refusal(**other).fingerprint != refusal(message="items[0].quantity is out of range").fingerprint

    def test_of_a_missing_answer_goes_by_the_kind_of_failure(self):
        one, other = Answer(None, "socket 7 of ::1", error="timeout"), Answer(None, "pool is full", error="timeout")

        assert one.fingerprint == other.fingerprint
        assert one.fingerprint != Answer(None, "socket 7 of ::1", error="dns").fingerprint

    def test_is_stable_and_short(self):
        assert refusal().fingerprint == "b1e09e81aebd4de2"
        assert Answer(204).fingerprint is None

    def test_of_a_long_message_takes_no_time(self):
        for text in ('"' * 50_000, "'" * 50_000, "“" * 50_000, "x1" * 50_000, "-" * 50_000):
            assert len(alike(text)) <= 1000


class MeaningTests:
    def test_goes_by_the_message_then_by_brevos_code_before_the_status(self):
        assert "unblock the contact" in str(meaning(400, "invalid_parameter", "Contact is blocklisted"))
        assert "keeps its value" in str(meaning(400, "out_of_range", "items[0].quantity"))
        assert "keeps its value" in str(meaning(400, "Out-of-range"))
        assert "is missing" in str(meaning(400, "missing_parameter"))

    def test_falls_back_to_the_status(self):
        assert str(meaning(400, "something_else", "?")).startswith("Brevo rejected the event.")
        assert "ma-key" in str(meaning(401, "unauthorized", "Key not found"))
        assert str(meaning(204, "out_of_range")) == "Brevo accepted the event."


@pytest.mark.django_db(transaction=True)
class ColumnTests:
    def columns(self):
        return OutboxEvent.objects.values_list("status", "failure").get()

    def test_is_set_by_each_answer_that_fails_and_cleared_by_one_that_does_not(self, fake_brevo):
        fake_brevo.next(Reply.error(500, "internal_error"))
        track("a", ADA)
        deliver()

        assert self.columns() == ("pending", refusal(500, "internal_error", fake_brevo_message()).fingerprint)
        assert OutboxEvent.objects.get().failed_at is not None

        OutboxEvent.objects.update(due_at=in_seconds(-1))
        deliver()

        assert self.columns() == ("sent", None)
        assert OutboxEvent.objects.get().failed_at is None

    def test_is_that_of_the_last_answer_of_a_failed_event(self, fake_brevo):
        fake_brevo.next(Reply.error(400, "out_of_range"))
        track("a", ADA)
        deliver()

        row = OutboxEvent.objects.get()
        assert (row.status, len(row.failure)) == ("failed", 16)
        assert abs(row.failed_at - row.finished_at) < dt.timedelta(seconds=1)

    @pytest.mark.usefixtures("_by_hand")
    def test_stays_while_an_event_is_given_back_without_an_answer(self):
        track("a", ADA)
        (event,) = claim(1)
        record([answered(event, 500)])
        OutboxEvent.objects.update(due_at=in_seconds(-1))
        before = self.columns()
        (event,) = claim(1)
        attempt = answered(event, 500)
        attempt.answer = None

        record([attempt])

        assert self.columns() == before
        assert before[1]

    @pytest.mark.usefixtures("_by_hand")
    @pytest.mark.parametrize("code", [401, 429])
    def test_is_set_too_if_the_answer_puts_delivery_on_hold(self, code):
        track("a", ADA)
        (event,) = claim(1)

        record([answered(event, code)])

        assert self.columns() == ("pending", Answer(code).fingerprint)

    @pytest.mark.usefixtures("_by_hand")
    def test_is_cleared_by_a_resend_a_cancel_and_an_erase(self):
        failed(email=ADA)
        failed(email=BOB)
        pending = track("a", EVE)
        OutboxEvent.objects.filter(pk=pending.pk).update(failure="0" * 16, failed_at=in_seconds(0))

        OutboxEvent.objects.of_contact(ADA).resend()
        list(privacy.erase(BOB))
        cancel(EVE)

        assert set(OutboxEvent.objects.values_list("failure", "failed_at")) == {(None, None)}


def fake_brevo_message():
    return json.loads(Reply.error(500, "internal_error").body)["message"]


@pytest.mark.django_db
@pytest.mark.usefixtures("_by_hand")
class GroupsTests:
    def test_hold_alike_failures_of_any_event_name_together(self):
        for number in range(3):
            failed("cart_updated", f"{number}@example.com", message=f"{number}@example.com has 5{number} of 7", ago=90)
        failed("order_completed", "0@example.com", message="9@example.com has 1 of 2", ago=10)
        failed("viewed", code="out_of_range", message="quantity is out of range", ago=50)

        one, other = failure_groups()

        assert (one.failed, one.waiting, one.contacts, one.names) == (4, 0, 3, ("cart_updated", "order_completed"))
        assert (one.response_code, one.error, one.message) == (400, "invalid_parameter", "…@… has 1 of 2")
        assert one.last_at - one.first_at == pytest.approx(dt.timedelta(seconds=80), abs=dt.timedelta(seconds=5))
        assert (other.failed, other.message) == (1, "quantity is out of range")
        assert "keeps its value" in other.meaning

    def test_count_apart_what_will_be_tried_again(self):
        failed()
        pending = track("viewed", BOB)
        OutboxEvent.objects.filter(pk=pending.pk).update(failure=refusal().fingerprint, failed_at=timezone.now())

        (group,) = failure_groups()

        assert (group.failed, group.waiting, group.contacts) == (1, 1, 2)

    def test_are_those_seen_last_and_the_largest_first(self):
        failed(message="once", ago=10)
        for _ in range(2):
            failed(message="twice", ago=3600)
        failed(message="long ago", ago=90_000)

        since = timezone.now() - dt.timedelta(hours=12)

        assert [group.message for group in failure_groups(since=since)] == ["twice", "once"]
        assert [group.message for group in failure_groups(limit=1)] == ["once"]

    def test_count_up_to_a_limit(self, monkeypatch):
        monkeypatch.setattr("brevo_events.failures.COUNT_LIMIT", 2)
        for _ in range(3):
            failed()

        (group,) = failure_groups()

        assert (group.failed, group.is_capped) == (2, True)

    def test_without_any_failure_are_none(self):
        track("viewed", ADA)

        assert failure_groups() == []
        assert with_message("x") == []

    def test_without_any_attempt_have_no_message(self):
        failed()
        SendAttempt.objects.all().delete()

        assert [group.message for group in failure_groups()] == [""]

    def test_are_found_by_a_constant_number_of_statements(self):
        counts = []
        for number in (1, 30):
            for index in range(number):
                failed(message=f"kind {'x' * index}", ago=index)
            with CaptureQueriesContext(connection) as queries:
                failure_groups()
            counts.append(len(queries))

        assert counts == [6, 6]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_by_hand")
class FilterTests:
    def test_resend_those_that_failed_with_a_message(self):
        wanted = [failed(email=email, message=f"{email} has 7 items") for email in (ADA, BOB)]
        other = failed(email=EVE, message="something else")

        told = run("resend_brevo_events", "--message", "HAS 12 items")

        assert told == "2 events will be sent again.\n"
        assert {event.pk: event.status for event in OutboxEvent.objects.all()} == {
            **{event.pk: "pending" for event in wanted},
            other.pk: "failed",
        }

    def test_resend_those_of_one_group(self):
        failed()
        failed(email=BOB, message="something else")

        assert run("resend_brevo_events", "--failure", refusal().fingerprint) == "1 event will be sent again.\n"

    def test_cancel_what_is_tried_again_and_again(self):
        pending = track("viewed", ADA)
        (event,) = claim(1)
        record([answered(event, 500, body='{"message": "no such list"}')])

        assert run("cancel_brevo_events", "--message", "no such list") == "1 event was cancelled.\n"
        assert OutboxEvent.objects.get(pk=pending.pk).status == Status.CANCELLED

    def test_choose_nothing_by_a_message_that_is_not_there(self):
        failed()

        assert run("resend_brevo_events", "--message", "no such words") == "There is nothing to do.\n"

    def test_combine_with_others(self):
        failed("viewed")
        failed("bought", BOB)

        told = run("resend_brevo_events", "--message", "blocklisted", "--event", "bought")

        assert told == "1 event will be sent again.\n"

    @pytest.mark.parametrize("value", ["", "xyz", "0123", "0" * 17, "G" * 16])
    def test_refuse_what_is_no_fingerprint(self, value):
        with pytest.raises(CommandError, match="is not 16 hexadecimal digits"):
            run("resend_brevo_events", "--failure", value)

    @pytest.mark.parametrize("value", ["", " "])
    def test_refuse_an_empty_message(self, value):
        with pytest.raises(CommandError, match="is empty"):
            run("resend_brevo_events", "--message", value)


@pytest.mark.django_db
@pytest.mark.usefixtures("_by_hand")
class ListTests:
    def test_of_a_group_has_exactly_its_events_the_last_first(self):
        first, last = failed(ago=5), failed("bought", BOB, ago=500)
        failed(message="something else")
        OutboxEvent.objects.filter(pk=last.pk).update(failed_at=timezone.now() + dt.timedelta(seconds=1))

        page = root().get(f"{LIST}?failure={first.failure}")

        assert [event.pk for event in page.context["cl"].result_list] == [last.pk, first.pk]
        assert "Failure: <bdi>" in text_of(page)

    @pytest.mark.parametrize("value", ["", "nothing", "\0"])
    def test_of_no_group_is_a_page_too(self, value):
        failed()

        assert root().get(LIST, {"failure": value}).status_code == 200

    def test_is_where_the_overview_leads(self):
        event = failed()
        for _ in range(2):
            track_many([Event("viewed", BOB)])

        page = text_of(root().get(f"{LIST}overview/"))

        assert f'<a href="{LIST}?failure={event.failure}" ' in page
        assert "Contact is blocklisted" in page
        assert "unblock the contact" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_by_hand")
class ResendTests:
    URL = f"{LIST}overview/resend/"

    def button_of(self, page, failure):
        """Return the text of a group's button, None if there is none."""
        found = re.search(f'name="failure" value="{failure}"><button [^>]*>(.*?)</button>', page)
        return found and found[1]

    def test_asks_about_exactly_the_failed_events_of_a_group(self):
        mine = [failed(email=ADA), failed("bought", BOB)]
        failed(message="something else")
        pending = track("viewed", EVE)
        OutboxEvent.objects.filter(pk=pending.pk).update(failure=mine[0].failure, failed_at=timezone.now())
        browser = root()

        page = browser.post(self.URL, {"failure": mine[0].failure})

        assert sorted(map(int, hidden(page, "pks").split(","))) == [event.pk for event in mine]
        assert facts_of(page)[0] == "2 events will be resent; their attempts restart at zero."
        assert hidden(page, "back") == f"{LIST}overview/"
        assert self.button_of(text_of(browser.get(f"{LIST}overview/")), mine[0].failure) == "Resend 2…"

    def test_counts_what_is_skipped_as_everywhere_and_changes_nothing_yet(self):
        older, newer = (OutboxEvent.objects.get(pk=failed().pk) for _ in range(2))
        OutboxEvent.objects.update(object_id="cart:1")

        page = root().post(self.URL, {"failure": older.failure})

        assert "a newer event of the same contact and object exists" in text_of(page)
        assert statuses_of(older, newer) == ["failed", "failed"]

    def test_leads_back_to_the_overview_when_it_is_done(self):
        event = failed()
        browser = root()
        asked = browser.post(self.URL, {"failure": event.failure})

        done = confirm(browser, "resend", event, back=hidden(asked, "back"))

        assert done.redirect_chain == [(f"{LIST}overview/", 302)]
        assert statuses_of(event) == ["pending"]

    def test_of_a_large_group_is_of_its_newest_events(self, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.confirmation.MOST", 2)
        events = [failed(ago=ago) for ago in (30, 20, 10)]

        page = root().post(self.URL, {"failure": events[0].failure})

        assert sorted(map(int, hidden(page, "pks").split(","))) == [event.pk for event in events[1:]]
        assert "Only the newest 10,000 were selected." in text_of(page)

    def test_says_on_the_button_that_only_the_newest_are_resent(self, monkeypatch):
        monkeypatch.setattr("brevo_events.failures.COUNT_LIMIT", 2)
        events = [failed() for _ in range(3)]

        page = text_of(root().get(f"{LIST}overview/"))

        assert self.button_of(page, events[0].failure) == "Resend the newest 2…"
        assert "2+ events failed" in page

    def test_of_a_group_that_is_only_tried_again_has_no_button(self):
        pending = track("viewed", EVE)
        OutboxEvent.objects.filter(pk=pending.pk).update(failure="f" * 16, failed_at=timezone.now())

        page = text_of(root().get(f"{LIST}overview/"))

        assert "1 waiting" in page
        assert not self.button_of(page, "f" * 16)

    @pytest.mark.parametrize("failure", ["", "f" * 16, "\0"])
    def test_of_no_group_has_nothing_to_do(self, failure):
        failed()

        assert "There is nothing to do." in text_of(root().post(self.URL, {"failure": failure}))

    def test_needs_the_permission_to_resend(self):
        event = failed()
        browser = staff("view_outboxevent")

        assert browser.post(self.URL, {"failure": event.failure}).status_code == 403
        assert browser.get(self.URL).status_code == 403
        assert not self.button_of(text_of(browser.get(f"{LIST}overview/")), event.failure)
        other = staff("view_outboxevent", "resend_outboxevent")
        assert other.post(self.URL, {"failure": event.failure}).status_code == 200

    def test_tells_whoever_logs_in_between_to_press_again(self):
        browser = root()

        response = browser.get(self.URL, follow=True)

        assert response.redirect_chain == [(f"{LIST}overview/", 302)]
        assert messages_of(response) == ["Nothing was changed: press the button again."]
        assert browser.put(self.URL).status_code == 405
