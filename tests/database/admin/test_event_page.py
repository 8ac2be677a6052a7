from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from brevo_events import commerce, track
from brevo_events.admin import log
from brevo_events.clock import in_seconds
from brevo_events.models import Gate, GateReason, OutboxEvent, Status
from tests.browsing import (
    ADA,
    BOB,
    LIST,
    address_of,
    attempt,
    confirm,
    ended,
    page_of,
    staff,
    text_of,
)
from tests.shop.models import Cart, Line

pytestmark = pytest.mark.usefixtures("by_hand")

VIEW, SEE = "view_outboxevent", "view_contact_data"
BLOCKED = '{"code": "invalid_parameter", "message": "Contact is blocklisted"}'
BROKEN = '{"code": "internal_error", "message": "Something went wrong"}'
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)


def at(event, **values):
    OutboxEvent.objects.filter(pk=event.pk).update(**values)
    event.refresh_from_db()
    return event


def without_tags(markup):
    return " ".join(re.sub("<.*?>", " ", markup, flags=re.DOTALL).replace("\xa0", " ").split())


def steps_of(page):
    """Return the steps of the timeline, each without its time."""
    timeline = re.search('<ol class="brevo-timeline">(.*?)</ol>', page, re.DOTALL)[1]
    steps = re.split('<li class="brevo-step', timeline)[1:]
    return [
        without_tags(re.sub('<p class="brevo-step-when">.*?</p>', "", f"<li {step}", flags=re.DOTALL)) for step in steps
    ]


def times_of(page):
    """Return the times of the steps, as they are shown."""
    return [without_tags(shown) for shown in re.findall('<p class="brevo-step-when">(.*?)</p>', page, re.DOTALL)]


def answer_on(page):
    """Return the sentence that the page begins with."""
    return without_tags(re.search('<p class="brevo-answer"[^>]*>(.*?)</p>', page, re.DOTALL)[1])


def facts_on(page):
    found = re.findall("<dt>([^<]*)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return {label: without_tags(value) for label, value in found}


def seen(client, event):
    return text_of(client.get(page_of(event)))


@pytest.mark.django_db
class AnswerTests:
    """The sentence at the top says what happened to the event, and why."""

    def test_of_an_accepted_event(self, client):
        page = seen(client, ended(ADA, Status.SENT))

        assert re.fullmatch(r"Brevo accepted this event today at \d\d:\d\d:\d\d\.", answer_on(page))
        assert "Whether a mail follows, its automation decides." in page
        assert re.search(r'<span class="brevo-status brevo-status-sent">Accepted</span>', page)

    def test_of_another_day_has_the_date_and_a_clock_of_24_hours(self, client):
        event = ended(ADA, Status.SENT, finished_at=dt.datetime(2026, 3, 1, 22, 5, 7, tzinfo=dt.UTC))

        assert "on March 1, 2026 at 23:05:07" in answer_on(seen(client, event))

    def test_of_a_rejected_event_has_brevos_words(self, client):
        event = ended(ADA, reason="rejected", response_code=400)
        attempt(event, response_code=400, answer=BLOCKED)

        assert answer_on(seen(client, event)).endswith(": Contact is blocklisted .")
        assert "Contact is blocklisted" not in seen(staff(VIEW), event)
        assert answer_on(seen(browser_that_sees_no_contacts(), event)).endswith(": 400 Bad Request.")

    def test_of_an_event_that_was_given_up(self, client):
        event = ended(ADA, reason="gave_up", attempts=12)
        attempt(event, response_code=503, answer=BROKEN)

        sentence = answer_on(seen(client, event))

        assert "after 12 attempts; the last answer was Something went wrong" in sentence

    def test_tells_of_the_failure_before_a_resend_and_who_resent(self, client):
        event = at(ended(ADA, reason="rejected"), created_at=in_seconds(-1000), available_at=in_seconds(-1000))
        attempt(event, started_at=event.created_at + MINUTE, response_code=400, answer=BLOCKED)
        confirm(client, "resend", event)
        at(event, status="sent", finished_at=in_seconds(1), due_at=None, attempts=1)
        attempt(event, started_at=timezone.now() + SECOND, response_code=204)

        sentence = answer_on(seen(client, event))

        assert "Brevo accepted this event" in sentence
        assert "It had failed" in sentence
        assert "Contact is blocklisted ; root resent it." in sentence

    def test_names_the_order_that_made_a_cart_needless(self, client):
        cart = track(commerce.cart_updated(ADA, cart_id=1, items=[], currency="EUR", delay=60))
        order = track(commerce.order_completed(ADA, cart_id=1, order_id="7", items=[], currency="EUR"))

        page = seen(client, cart)

        assert re.fullmatch(rf"Not needed: order_completed #{order.pk} came [\d.]+ s later\.", answer_on(page))
        assert page.count(f'href="{page_of(order)}"') >= 2  # the sentence and the timeline
        assert "Not needed</span>" in page

    def test_names_the_change_that_one_was_merged_into(self, client):
        first, second, third = (
            track(commerce.cart_updated(ADA, cart_id=1, items=[], currency="EUR")) for _ in range(3)
        )
        for event in (first, second):
            at(event, status="cancelled", reason="superseded", finished_at=in_seconds(5), due_at=None)
        at(third, status="sent", finished_at=in_seconds(6), due_at=None)

        for event in (first, second):
            assert answer_on(seen(client, event)).startswith(f"Merged into the next change: cart_updated #{third.pk}")

    def test_says_so_if_what_replaced_an_event_is_gone(self, client):
        event = ended(ADA, Status.CANCELLED, reason="superseded")

        assert answer_on(seen(client, event)).startswith("Not needed: a newer event replaced it")

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            ("expired", "Not sent: it expired"),
            ("no_consent", "the contact did not consent any more"),
            ("operator", "Not sent: an operator cancelled it"),
            ("app", "Not sent: the application cancelled it"),
        ],
    )
    def test_of_a_cancelled_event_says_why(self, client, reason, said):
        assert said in answer_on(seen(client, ended(ADA, Status.CANCELLED, reason=reason)))

    def test_names_who_cancelled(self, client):
        event = track("viewed", ADA)
        confirm(client, "cancel", event)

        page = seen(client, event)

        assert "Not sent: root cancelled it" in answer_on(page)
        assert steps_of(page) == ["Captured", "Cancelled by root"]

    def test_of_one_that_waits_for_another_event(self, client):
        ahead, behind = track("viewed", ADA), track("bought", ADA)

        page = seen(client, behind)

        assert answer_on(page) == (f"Waits for viewed #{ahead.pk} : the events of a contact are sent in their order.")
        assert steps_of(page)[-1].startswith(f"Waits for viewed #{ahead.pk}")

    def test_of_one_behind_a_delayed_event_does_not_wait_for_it(self, client):
        track("viewed", ADA, delay=600)

        assert "Waits" not in answer_on(seen(client, track("bought", ADA)))

    def test_of_a_delayed_event_says_when_it_goes_out(self, client):
        assert re.search(
            r"Goes out (today|on .*) at \d\d:\d\d:\d\d, in (10 min|9 min 5\d s)",
            answer_on(seen(client, track("viewed", ADA, delay=600))),
        )

    @pytest.mark.parametrize("hold", [Gate.pause, lambda gate: gate.close(GateReason.OUTAGE, 503, 60)])
    def test_of_a_delayed_event_promises_no_time_while_nothing_is_sent(self, client, hold):
        event = track("viewed", ADA, delay=30)
        hold(Gate.load())

        page = seen(client, event)

        assert answer_on(page).startswith("Waits. Delivery is ")
        assert re.search(r"captured with a delay, and isn&#x27;t due before (.*, )?\d\d:\d\d:\d\d\.", page)
        assert steps_of(page)[-1].startswith("Waits Delivery is ")

    def test_of_a_delayed_event_still_says_when_if_delivery_goes_on_by_then(self, client):
        event = track("viewed", ADA, delay=600)
        Gate.load().close(GateReason.OUTAGE, 503, 60)

        assert steps_of(seen(client, event))[-1].startswith("Next attempt in ")

    def test_of_an_expired_event_names_the_time_that_it_was_given(self, client):
        event = ended(ADA, Status.CANCELLED, reason="expired")
        at(event, expires_at=dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC))

        assert "it expired on March 1, 2026 at 13:00:00" in answer_on(seen(client, event))

    def test_of_a_retry_says_which_and_when(self, client):
        event = at(track("viewed", ADA), attempts=2, due_at=in_seconds(240))
        attempt(event, response_code=503, answer=BROKEN)

        page = seen(client, event)

        assert re.search(r"Waits for a retry: Attempt 3 of 12 .*, in (4 min|3 min 5\d s)", answer_on(page))
        assert steps_of(page)[-1].startswith("Attempt 3 of 12 in ")

    def test_does_not_promise_an_attempt_while_delivery_is_on_hold(self, client):
        event = at(track("viewed", ADA), due_at=in_seconds(-30))
        Gate.load().close(GateReason.ACCOUNT, 401, 300)

        page = seen(client, event)

        assert answer_on(page).startswith("Waits. Delivery is on hold")
        assert re.search(r"Next try of any event in (5 min|4 min 5\d s)", page)
        assert "Next attempt" not in page
        assert "Overdue" not in page
        assert steps_of(page)[-1].startswith("Waits Delivery is on hold")

    def test_of_a_pause_says_nothing_of_the_next_try(self, client):
        event = track("viewed", ADA)
        Gate.load().close(GateReason.ACCOUNT, 401, 300)
        Gate.load().pause()

        page = seen(client, event)

        assert answer_on(page).startswith("Waits. Delivery is paused")
        assert "Next try of any event" not in page

    def test_of_an_overdue_event(self, client):
        event = at(track("viewed", ADA), due_at=in_seconds(-60))

        page = seen(client, event)

        assert re.search(r"Overdue since \d\d:\d\d:\d\d, 1 min( \d+ s)? ago", answer_on(page))
        assert steps_of(page)[-1].startswith("Overdue since 1 min")

    def test_of_an_event_that_is_being_sent(self, client):
        event = at(track("viewed", ADA), status="sending", due_at=in_seconds(60))

        page = seen(client, event)

        assert answer_on(page) == "This event is being sent."
        assert re.search(r"If the worker stops, it will be retried at \d\d:\d\d:\d\d\.", page)
        assert "if that fails, a newer event is sent" in steps_of(seen(client, at(event, reason="superseded")))[-1]


def browser_that_sees_no_contacts():
    User.objects.filter(username=VIEW).delete()
    return staff(VIEW)


@pytest.mark.django_db
class TimelineTests:
    @pytest.mark.parametrize(
        ("code", "error", "shown"),
        [
            (204, "", "204 Accepted after 12 ms"),
            (401, "unauthorized", "401 Unauthorized after 12 ms unauthorized Brevo does not know the ma-key."),
            (503, "", "503 Service Unavailable after 12 ms Brevo had an internal error."),
            (599, "", "599 after 12 ms Brevo had an internal error."),
            (None, "timeout", "No answer (timeout) after 12 ms Brevo did not answer in time."),
        ],
    )
    def test_says_of_each_answer_what_it_means(self, client, code, error, shown):
        event = ended(ADA)
        attempt(event, response_code=400)
        attempt(event, response_code=code, error=error)

        captured, first, second, end = steps_of(seen(client, event))

        assert (captured, end) == ("Captured", "Failed")
        assert first.startswith("400 Bad Request after 12 ms Brevo rejected the event")
        assert second.startswith(shown)

    def test_shows_brevos_words_to_those_who_may_see_them(self, client):
        event = ended(ADA)
        attempt(event, response_code=400, error="out_of_range", answer='{"code": "x", "message": "Too far"}')
        attempt(ended(BOB), response_code=418)

        assert "out_of_range: Too far" in steps_of(seen(client, event))[1]
        assert "418" not in seen(client, event)
        assert "Too far" not in seen(staff(VIEW), event)

    @pytest.mark.parametrize(
        ("changes", "last"),
        [
            ({"status": "pending"}, ["Next attempt now"]),
            ({"status": "sending", "due_at": None}, ["Being sent"]),
            ({"status": "sent"}, ["Accepted"]),
            (
                {"status": "failed", "reason": "gave_up"},
                ["Failed too many attempts; the next event of the contact went on"],
            ),
            (
                {"status": "failed", "reason": "rejected"},
                ["Failed Brevo refused the event; the next event of the contact went on"],
            ),
            ({"status": "cancelled", "reason": "operator"}, ["Cancelled by an operator"]),
            ({"status": "cancelled", "reason": "expired"}, ["Expired before it could be sent"]),
            ({"status": "cancelled", "reason": "no_consent"}, ["No consent from the contact"]),
        ],
        ids=lambda value: " ".join(value.values()) if isinstance(value, dict) and all(value.values()) else "",
    )
    def test_says_what_comes_next_or_how_it_ended(self, client, changes, last):
        event = track("viewed", ADA)
        if changes["status"] not in ("pending", "sending"):
            changes = {**changes, "finished_at": in_seconds(0)}

        assert steps_of(seen(client, at(event, **changes))) == ["Captured", *last]

    def test_says_when_an_unfinished_event_expires(self, client):
        page = seen(client, track("viewed", ADA, expires=3600))

        assert steps_of(page)[-1].startswith("Expires in ")
        assert "Expires" in facts_on(page)

    def test_keeps_the_failure_before_a_resend(self, client):
        event = at(ended(ADA, reason="rejected"), created_at=in_seconds(-2000), available_at=in_seconds(-2000))
        attempt(event, started_at=event.created_at + SECOND, response_code=400)
        confirm(client, "resend", event)
        attempt(event, started_at=timezone.now() + SECOND, response_code=204)
        at(event, status="sent", finished_at=in_seconds(2), due_at=None, attempts=1)

        steps = steps_of(seen(client, event))

        assert [step.split(" after")[0] for step in steps] == [
            "Captured",
            steps[1].split(" after")[0],
            "Failed Brevo refused the event",
            "Resent by root",
            "204 Accepted",
        ]
        assert steps[1].startswith("400 Bad Request")
        assert steps[-1].endswith("attempt 1 of 12")

    def test_keeps_that_an_event_was_given_up_before_a_resend(self, client, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "MAX_ATTEMPTS": 2}
        event = at(ended(ADA, reason="gave_up"), created_at=in_seconds(-2000), available_at=in_seconds(-2000))
        for number in (1, 2):
            attempt(event, started_at=event.created_at + number * SECOND, response_code=503)
        confirm(client, "resend", event)

        assert "Failed too many attempts" in steps_of(seen(client, event))

    def test_does_not_make_up_a_failure(self, client):
        event = at(ended(ADA, Status.CANCELLED, reason="expired"), created_at=in_seconds(-2000))
        at(event, available_at=in_seconds(-2000))
        attempt(event, started_at=event.created_at + SECOND, response_code=503)
        confirm(client, "resend", event, include_expired="on")

        assert not [step for step in steps_of(seen(client, event)) if step.startswith("Failed")]

    def test_tells_of_a_resend_by_a_command(self, client):
        event = at(ended(ADA, reason="rejected"), created_at=in_seconds(-2000), available_at=in_seconds(-2000))
        attempt(event, started_at=event.created_at + SECOND, response_code=400)
        OutboxEvent.objects.filter(pk=event.pk).resend()

        assert "Resent by a command" in steps_of(seen(client, event))

    @pytest.mark.parametrize("number", [3, 101])
    def test_tells_of_a_resend_together_with_others(self, client, number):
        events = [ended(ADA, object_id=f"cart:{index}") for index in range(number)]
        confirm(client, "resend", *events)
        other = ended(BOB)

        assert f"Resent by root with {number - 1} others" in steps_of(seen(client, events[1]))
        assert not [step for step in steps_of(seen(client, other)) if step.startswith("Resent")]

    def test_remembers_who_did_it_whatever_else_is_logged(self, client):
        events = [ended(ADA, object_id=f"cart:{index}") for index in range(101)]
        confirm(client, "resend", *events)
        user = User.objects.get()
        for _ in range(log.MAX_ENTRIES):
            log.write_once(user, log.EXPORTED, [events[0].pk, events[2].pk])
            log.write_once(user, "Resent.", [ended(BOB).pk])

        steps = steps_of(seen(client, events[0]))
        assert "Resent by root with 100 others" in steps
        assert not [step for step in steps if "Exported" in step]

    def test_tells_of_an_export_in_the_language_of_the_reader(self, client, settings):
        event = ended(ADA)
        log.write(User.objects.get(), log.EXPORTED, [event.pk])
        settings.LANGUAGE_CODE = "fr"

        assert "Exporté par root" in steps_of(seen(client, event))

    def test_tells_who_did_it_in_the_language_of_the_reader(self, client, settings):
        settings.LANGUAGE_CODE = "fr"
        event = ended(ADA)
        confirm(client, "resend", event)
        settings.LANGUAGE_CODE = "en"

        assert "Resent by root" in steps_of(seen(client, event))

    def test_shows_other_entries_of_the_log_as_they_are(self, client):
        event = ended(ADA)
        LogEntry.objects.log_actions(User.objects.get().pk, [event], 2, "Looked into it.")

        assert "Looked into it by root" in steps_of(seen(client, event))

    def test_folds_equal_answers_in_a_row(self, client):
        event = ended(ADA, reason="gave_up", attempts=12)
        at(event, created_at=in_seconds(-7200), available_at=in_seconds(-7200))
        for number in range(12):
            attempt(event, started_at=event.created_at + number * MINUTE, response_code=500, answer=BROKEN)

        page = seen(client, event)

        steps = steps_of(page)
        assert len(steps) == 5
        assert steps[1].startswith("500 Internal Server Error after 12 ms · attempt 1 of 12")
        assert re.match(r"10 more like this, (.*, )?\d\d:\d\d:\d\d–(.*, )?\d\d:\d\d:\d\d", steps[2])
        assert "attempt 12 of 12" in steps[3]
        assert page.count("Brevo had an internal error") == 2  # the sentence's note and the first answer

    def test_names_the_days_of_a_fold_that_goes_over_several(self, client):
        event = at(ended(ADA), created_at=dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC))
        for number in range(4):
            attempt(event, started_at=event.created_at + number * dt.timedelta(days=1), response_code=500)

        assert "2 more like this, March 2, 2026, 13:00:00–March 3, 2026, 13:00:00" in steps_of(seen(client, event))[2]

    def test_does_not_fold_across_a_resend_or_other_answers(self, client):
        event = at(ended(ADA), created_at=in_seconds(-7200), available_at=in_seconds(-3600))
        for number in (1, 2, 3, 100, 101, 102):
            attempt(event, started_at=event.created_at + number * MINUTE, response_code=500)

        assert "more like this" not in seen(client, event)

    def test_shows_the_newest_attempts_of_very_many(self, client):
        event = ended(ADA)
        for number in range(52):
            attempt(event, response_code=503 if number % 2 else 500, duration_ms=1000 + number)

        steps = steps_of(seen(client, event))

        assert steps[1] == "Only the newest 50 requests are shown."
        shown = [re.search(r"after (\d+) ms", step)[1] for step in steps[2:-1]]
        assert shown == [str(1000 + number) for number in range(2, 52)]

    def test_shows_seconds_gaps_the_date_when_it_changes_and_the_zone_once(self, client):
        begin = dt.datetime(2026, 3, 1, 22, 58, 7, tzinfo=dt.UTC)
        event = at(ended(ADA, reason="rejected"), created_at=begin, available_at=begin)
        attempt(event, started_at=begin + dt.timedelta(seconds=0.27), response_code=503)
        attempt(event, started_at=begin + 5 * MINUTE, response_code=400)
        at(event, finished_at=begin + 5 * MINUTE + 2 * SECOND)

        page = seen(client, event)

        first, second, third, last = times_of(page)
        assert first.startswith("March 1, 2026 23:58:07 · ")
        assert second == "23:58:07 · +0.27 s"
        assert third == "March 2, 2026 00:03:07 · +5 min"
        assert last == "00:03:09 · +2.0 s"
        assert page.partition("<main")[2].count("Europe/Paris") == 1  # Django 6.1 has it in the body's tag
        assert "p.m." not in page
        assert 'datetime="2026-03-01T23:58:07+01:00"' in page


@pytest.mark.django_db
class ContentTests:
    def test_shows_lists_as_tables_and_values_by_name(self, client):
        items = [{"name": "Émile", "price": 89}, {"name": "Brume mug", "price": 14.5}]
        event = ended(ADA, data={"items": items, "total": 103.5, "note": None})
        page = seen(client, event)

        table = re.search('<table class="brevo-content">(.*?)</table>', page, re.DOTALL)[1]
        assert [without_tags(cell) for cell in re.findall("<t[hd].*?</t[hd]>", table)] == [
            *("name", "price"),
            *("Émile", "89.00"),
            *("Brume mug", "14.50"),
        ]
        values = re.search('<dl class="brevo-values">(.*?)</dl>', page, re.DOTALL)[1]
        assert without_tags(values) == "total 103.50 note –"

    def test_shows_the_body_as_json_to_copy_one_click_away(self, client):
        event = ended(ADA, object_id="cart:1", data={"name": "Émile", "items": [1]})

        page = seen(client, event)

        pre = re.search('<pre class="brevo-body" id="brevo-body"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
        assert pre.startswith("{\n  &quot;email&quot;: &quot;ada@example.com&quot;,\n")
        assert "&quot;name&quot;: &quot;Émile&quot;," in pre
        assert re.search('<button [^>]*data-copies="brevo-body"', page)
        assert page.count("<details") == page.count("<summary") == 2

    def test_shows_the_command_line_of_the_request_without_the_key(self, client, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker", "MA_KEY": "k" * 24, "URL": "https://example.com/track"}
        event = ended(ADA, data={"name": "it's"})

        page = seen(client, event)

        command = re.search('<pre class="brevo-body" id="brevo-curl"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
        assert command.startswith("curl -X POST https://example.com/track \\\n")
        assert escape('-H "ma-key: $BREVO_MA_KEY"') in command
        assert escape("""it'"'"'s""") in command
        assert "k" * 24 not in page

    def test_of_an_erased_event_is_gone_with_all_that_leads_to_others(self, client):
        event, other = ended(ADA, Status.SENT), ended(BOB)
        confirm(client, "erase", event)
        confirm(client, "erase", other)

        page = seen(client, event)

        assert "Content erased: the contact was erased." in page
        assert "Content erased by root" in steps_of(page)
        assert 'id="brevo-body"' not in page
        for address in (page_of(other), address_of("erase"), address_of("resend"), f"{LIST}contact/"):
            assert address not in page


@pytest.mark.django_db
class RelatedTests:
    def test_contact_and_object_are_links_with_counts(self, client):
        event = ended(ADA, object_id="cart:1")
        ended(ADA, object_id="cart:1")
        ended(ADA)
        page = seen(client, event)

        assert facts_on(page)["Contact"] == f"{ADA} 3 events"
        assert facts_on(page)["Object"] == "cart:1 2 events"
        assert f'href="{LIST}contact/{event.pk}/"' in page
        assert f'href="{LIST}?q=cart%3A1"' in page

    def test_an_object_that_is_an_address_leads_nowhere_if_it_is_masked(self, client):
        event = ended(ADA, object_id=f"user:{ADA}")

        assert "?q=user" in seen(client, event)
        page = seen(staff(VIEW), event)
        assert "?q=" not in page.partition('<div id="content"')[2]
        assert ADA not in page

    def test_shows_the_nearest_events_those_of_the_same_object_first(self, client):
        old = [track("viewed", ADA, object_id=f"cart:{number}") for number in range(12)]
        event = ended(ADA, object_id="cart:0")
        new = [track("viewed", "Ada@Example.com") for _ in range(3)]
        track("viewed", BOB)

        shown = seen(client, event).partition('id="brevo-others"')[2]

        found = re.findall(rf'<a href="({LIST}\d+/change/)"', shown)
        assert found == [page_of(each) for each in (old[0], *old[6:], *new)]

    def test_counts_a_contact_with_very_many_events_up_to_a_limit(self, client, monkeypatch):
        monkeypatch.setattr("brevo_events.admin.event.relations.MAX_COUNTED", 5)
        same = [ended(ADA, object_id="cart:1") for _ in range(2)]
        for _ in range(8):
            track("viewed", ADA)

        page = seen(client, same[0])

        assert facts_on(page)["Contact"] == f"{ADA} 5+ events"
        assert f'href="{page_of(same[1])}"' in page.partition('id="brevo-others"')[2]

    def test_asks_the_database_as_often_for_much_as_for_little(self, client):
        counts = []
        for number in (1, 30):
            event = ended(ADA, Status.CANCELLED, reason="superseded", object_id="cart:1", source="shop.cart:1")
            for _ in range(number):
                attempt(event, response_code=503)
                ended(ADA, object_id="cart:1", coalesce_key=event.coalesce_key)
                LogEntry.objects.log_actions(User.objects.get().pk, [event], 2, "Seen.")
            seen(client, event)
            with CaptureQueriesContext(connection) as queries:
                seen(client, event)
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 15

    @pytest.mark.parametrize("key", ["0", "9" * 30, "abc", "%00", "1'", "_00"])
    def test_of_an_event_that_does_not_exist_leads_home(self, client, key):
        response = client.get(f"{LIST}{key}/change/")

        assert (response.status_code, response.url) == (302, "/admin/")


@pytest.mark.django_db
class SourceTests:
    @pytest.mark.parametrize(
        ("source", "shown"),
        [
            ("shop.cart:7", "Triggered by cart 7"),
            ("shop.cart:<i>", "Triggered by cart &lt;i&gt;"),
            ("gone.model:7", ""),
            ("rubbish", ""),
            ("", ""),
        ],
    )
    def test_names_the_row_that_caused_the_event(self, client, source, shown):
        event = ended(ADA, source=source)

        assert steps_of(seen(client, event))[0] == f"Captured {shown}".strip()

    def test_hides_its_key_from_those_who_may_not_see_contacts(self, client):
        event = ended(ADA, source=f"shop.cart:{ADA}")

        assert steps_of(seen(staff(VIEW), event))[0] == "Captured Triggered by cart"

    @pytest.mark.parametrize(("permissions", "leads"), [(["view_user"], True), ([], False)])
    def test_leads_to_that_row_where_the_user_may_see_it(self, permissions, leads):
        browser, user = staff(VIEW, *permissions), User.objects.create_user("ada")
        event, dangling = ended(ADA, source=f"auth.user:{user.pk}"), ended(ADA, source="auth.user:x")

        assert (f'<a href="/admin/auth/user/{user.pk}/change/">' in seen(browser, event)) is leads
        assert "/admin/auth/user/x/" not in seen(browser, dangling)

    def test_leads_to_a_row_whose_key_an_address_cannot_spell(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        Session.objects.create(session_key="shirt_40", session_data="", expire_date=timezone.now())
        event = ended(ADA, source="sessions.session:shirt_40")
        page = text_of(client.get(page_of(event).replace("/admin/", "/staff/")))

        (link,) = re.findall(r'href="(/staff/sessions/session/[^"]*/change/)"', page)

        assert client.get(link).status_code == 200

    @pytest.mark.parametrize("who", ["root", "viewer"])
    def test_leads_to_the_page_on_which_the_row_is_edited(self, client, settings, who):
        settings.ROOT_URLCONF = "tests.browsing"
        line = Line.objects.create(cart=Cart.objects.create(email=ADA))
        event = ended(ADA, source=f"shop.line:{line.pk}")
        browser = client if who == "root" else staff(VIEW)

        page = text_of(browser.get(page_of(event).replace("/admin/", "/staff/")))

        assert (f'href="/staff/shop/cart/{line.cart_id}/change/"' in page) is (who == "root")
        named = f"line {line.pk} of cart {line.cart_id}" if who == "root" else "line of cart"
        assert steps_of(page)[0] == f"Captured Triggered by {named}"

    def test_names_a_row_that_is_gone(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        for key in ("77", "x"):
            event = ended(ADA, source=f"shop.line:{key}")
            page = text_of(client.get(page_of(event).replace("/admin/", "/staff/")))
            assert steps_of(page)[0] == f"Captured Triggered by line {key}"


@pytest.mark.django_db
class PageTests:
    def test_can_be_read_only(self, client):
        page = seen(client, ended(ADA))

        assert not re.search(r'<(input|textarea|select)(?![^>]*(type="hidden"|searchbar))[^>]*name="(?!csrf)', page)
        assert 'name="_save"' not in page
        assert "deletelink" not in page
        assert f"{LIST}add/" not in page

    def test_has_one_title(self, client):
        event = ended(ADA)
        page = seen(client, event)

        assert f"<title>viewed #{event.pk} | Django site admin</title>" in page.replace("\n", "")
        assert page.count("<h1>") == 1
        assert "View event" not in page

    def test_loads_nothing_of_djangos_form(self, client):
        page = seen(client, ended(ADA))

        loaded = re.findall(r'(?:src|href)="(/[^"]*\.(?:js|css))"', page)
        assert "/static/brevo_events/event.css" in loaded
        assert not [
            path for path in loaded if re.search("jquery|forms.css|prepopulate|core.js|urlify|change_form", path)
        ]
        assert "jsi18n" not in page
        assert len(loaded) <= 10

    def test_sets_erase_apart_from_resend(self, client):
        head, _, rest = seen(client, ended(ADA)).partition("</header>")[2].partition("</header>")

        assert address_of("resend") in head
        assert address_of("erase") not in head
        assert address_of("erase") in rest
        assert "brevo-button-danger" in rest

    def test_of_another_site_stays_there(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        cart = track(commerce.cart_updated(ADA, cart_id=1, items=[], currency="EUR", delay=60))
        track(commerce.order_completed(ADA, cart_id=1, order_id="7", items=[], currency="EUR"))

        page = text_of(client.get(page_of(cart).replace("/admin/", "/staff/")))

        assert "/admin/brevo_events" not in page

    def test_names_no_event_that_a_project_hides(self, client, settings):
        settings.ROOT_URLCONF = "tests.browsing"
        event = ended(ADA, Status.CANCELLED, reason="superseded", object_id="cart:1")
        hidden = ended(ADA, Status.SENT, name="hidden", object_id="cart:1")
        at(event, finished_at=in_seconds(1))
        waiting = track("viewed", BOB)
        track("hidden", BOB)

        for each in (event, waiting):
            assert "hidden #" not in text_of(client.get(page_of(each).replace("/admin/", "/viewed/")))
        assert f"hidden #{hidden.pk}" in seen(client, event)
