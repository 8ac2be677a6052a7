from __future__ import annotations

import datetime as dt
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, retention, track, track_many
from brevo_events.choices import InterruptionEnd, InterruptionKind, Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.health import outcome
from brevo_events.interruptions import count, recent, settle
from brevo_events.models import Gate, GateReason, Interruption, OutboxEvent
from brevo_events.testing import Reply
from tests.browsing import ADA, BOB, EVE, LIST, root, text_of
from tests.deliveries import answered, claim, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]


def only():
    return Interruption.objects.get()


def end_cooldown():
    Gate.objects.update(closed_until=in_seconds(-1))


class HoldTests:
    def test_is_logged_with_what_caused_it_and_what_ended_it(self, fake_brevo):
        fake_brevo.next(Reply.error(401, "unauthorized"))
        first = track("a", ADA)
        deliver()

        hold = only()
        assert (hold.kind, hold.reason, hold.response_code, hold.event) == ("hold", "account", 401, first.pk)
        assert (hold.ended_at, hold.end, hold.is_over, hold.cause) == (None, "", False, "Wrong key or URL (401)")
        track_many([Event("a", f"{n}@example.com") for n in range(4)])
        end_cooldown()
        deliver()

        hold = only()
        assert (hold.end, hold.is_over, hold.ended_by) == (InterruptionEnd.ANSWER, True, "")
        assert OutboxEvent.objects.filter(pk=hold.ended_event, status=Status.SENT).exists()
        assert hold.unfinished == 4
        (hold,) = recent()
        assert outcome(hold) == "5 waited, 5 sent, 0 lost"
        assert only().is_settled

    def test_is_one_however_often_its_probes_fail(self, fake_brevo):
        fake_brevo.always(Reply.error(401, "unauthorized"))
        track("a", ADA)
        for _ in range(3):
            deliver()
            end_cooldown()

        assert Interruption.objects.count() == 1

    def test_and_the_next_one_are_two(self):
        for _ in range(2):
            Gate.load().close(GateReason.OUTAGE, 503)
            Gate.load().open()

        assert [each.is_over for each in Interruption.objects.all()] == [True, True]

    def test_that_was_closed_by_somebody_else_meanwhile_is_not_logged_twice(self):
        first, second = Gate.load(), Gate.load()
        first.close(GateReason.OUTAGE, 503)
        second.close(GateReason.ACCOUNT, 401)

        assert only().reason == GateReason.OUTAGE


class PauseTests:
    def test_is_logged_with_who_and_why_and_who_ended_it(self):
        Gate.load().pause(by="root", reason="deploy")
        Gate.load().resume(by="ada")

        pause = only()
        assert (pause.kind, pause.began_by, pause.reason, pause.cause) == ("pause", "root", "deploy", "deploy")
        assert (pause.end, pause.ended_by, pause.is_over) == (InterruptionEnd.OPERATOR, "ada", True)

    def test_that_ends_by_itself_is_over_then_without_anybody_who_says_so(self):
        Gate.load().pause(until=dt.timedelta(minutes=15))
        assert (only().is_over, only().end) == (False, InterruptionEnd.TIME)

        Interruption.objects.update(ended_at=in_seconds(-1))

        assert only().is_over

    def test_that_is_given_another_end_stays_one(self):
        Gate.load().pause(by="root", until=dt.timedelta(minutes=15))
        Gate.load().pause(by="ada", reason="longer")

        assert (only().began_by, only().reason, only().ended_at, only().end) == ("ada", "longer", None, "")

    def test_after_one_that_ended_by_itself_is_another(self):
        Gate.load().pause(until=dt.timedelta(minutes=15))
        Gate.objects.update(paused_until=in_seconds(-1))
        Interruption.objects.update(ended_at=in_seconds(-1))

        Gate.load().resume(by="root")
        Gate.load().pause()

        first, second = Interruption.objects.order_by("pk")
        assert (first.end, first.ended_by, second.is_over) == (InterruptionEnd.TIME, "", False)


class OutcomeTests:
    def wait(self):
        """Let five events wait for the end of a pause, and one that is delayed beyond it."""
        track("sent before", ADA)
        deliver()
        Gate.load().pause()
        for number in range(3):
            track("cart", BOB, object_id="cart:1", coalesce=True, data={"n": number})
        track("refused", EVE)
        track("cancelled", "c@example.com")
        track("later", "d@example.com", delay=3600)
        OutboxEvent.objects.filter(name="cancelled").cancel()
        Gate.load().resume()

    def test_is_known_once_nothing_waits_any_more(self):
        self.wait()
        (pause,) = recent()
        assert pause.unfinished == 5
        assert outcome(pause) == "5 waited, 0 sent, 1 cancelled, 4 still waiting, 0 lost"
        assert not pause.is_settled

        events = claim(10)
        record([answered(event, 400 if event.name == "refused" else 204) for event in events])
        track("after", "f@example.com")
        deliver()

        assert outcome(recent()[0]) == "5 waited, 1 sent, 2 superseded, 1 cancelled, 1 failed, 0 lost"
        assert only().is_settled

    def test_is_kept_when_the_events_are_gone(self):
        self.wait()
        deliver()
        settle(before=timezone.now())
        OutboxEvent.objects.all().delete()

        assert recent()[0].waited == 5

    def test_shows_what_was_lost(self):
        self.wait()
        OutboxEvent.objects.filter(name="refused").delete()

        assert outcome(recent()[0]).endswith("1 lost")

    def test_takes_no_event_for_lost_that_was_resent_since(self):
        self.wait()
        record([answered(event, 400) for event in claim(10)])
        OutboxEvent.objects.filter(name="refused").resend()

        assert outcome(recent()[0]).endswith("0 lost")

    def test_is_final_after_a_day_whatever_still_waits(self):
        track("stuck", ADA)
        Gate.load().pause()
        Gate.load().resume()
        OutboxEvent.objects.update(created_at=in_seconds(-200_000), available_at=in_seconds(-200_000))
        Interruption.objects.update(began_at=in_seconds(-100_000), ended_at=in_seconds(-90_000))

        assert outcome(recent()[0]) == "1 waited, 0 sent, 1 still waiting, 0 lost"
        assert only().is_settled

    def test_of_one_that_lasts_is_not_known(self):
        Gate.load().pause()

        assert [outcome(each) for each in recent()] == [""]
        settle(before=timezone.now())
        assert only().sent is None

    def test_does_not_say_what_is_lost_if_nobody_counted(self):
        track("a", ADA)
        Gate.load().pause(until=dt.timedelta(minutes=1))
        Interruption.objects.update(ended_at=in_seconds(0))

        assert outcome(recent()[0]) == "1 waited, 0 sent, 1 still waiting"

    def test_is_counted_by_few_statements_for_few_interruptions(self):
        for _ in range(8):
            track("a", ADA)
            Gate.load().pause()
            Gate.load().resume()
        with CaptureQueriesContext(connection) as queries:
            recent()

        assert len(queries) == 1 + 3 * 5

    def test_is_written_only_if_it_has_changed(self):
        self.wait()
        recent()

        with CaptureQueriesContext(connection) as queries:
            count(only())

        assert not [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]


class RetentionTests:
    def test_prune_counts_for_the_last_time_before_it_deletes(self):
        Gate.load().pause()
        track("a", ADA)
        track("b", BOB)
        Gate.load().resume()
        record([answered(event) for event in claim(1)])

        list(retention.prune(days=0))

        assert OutboxEvent.objects.count() == 1
        assert outcome(recent()[0]) == "2 waited, 1 sent, 1 still waiting, 0 lost"

    def test_prune_leaves_for_later_what_it_deletes_nothing_of(self):
        Gate.load().pause()
        track("a", ADA)
        Gate.load().resume()
        list(retention.prune())
        deliver()

        assert outcome(recent()[0]) == "1 waited, 1 sent, 0 lost"

    def test_prune_forgets_old_interruptions(self):
        for days in (91, 89):
            Gate.load().pause()
            Gate.load().resume()
            moment = timezone.now() - dt.timedelta(days=days)
            Interruption.objects.filter(sent=None).update(began_at=moment, ended_at=moment, sent=0)

        list(retention.prune())

        assert (timezone.now() - only().ended_at).days == 89

    def test_prune_keeps_one_that_lasts(self):
        Gate.load().pause()
        Interruption.objects.update(began_at=in_seconds(-400 * 86_400))

        list(retention.prune(days=0, failed_days=0))

        assert Interruption.objects.count() == 1


class PageTests:
    def test_shows_the_log_with_its_outcomes(self):
        Gate.load().close(GateReason.OUTAGE, 503, event=77)
        track("a", ADA)
        Gate.load().open()
        Gate.load().pause(by="root", reason="deploy <4>")

        page = text_of(root().get(f"{LIST}overview/"))

        assert "Brevo does not answer (503)" in page
        assert f'<a href="{LIST}77/change/">#77</a>' in page
        assert "On hold for 0 s: 1 waited, 0 sent, 1 still waiting, 0 lost" in page
        assert re.search(r"Paused for \d+ s so far</td><td>deploy &lt;4&gt; \(root\)", page)
        assert "deploy &lt;4&gt;" in page

    def test_shows_that_there_was_none(self):
        assert "Delivery was never on hold or paused." in text_of(root().get(f"{LIST}overview/"))


def test_kinds_and_reasons_are_words_that_fit_their_columns():
    for choices, name in ((InterruptionKind, "kind"), (InterruptionEnd, "end"), (Reason, "kind")):
        assert all(len(value) <= Interruption._meta.get_field(name).max_length for value in choices.values)
