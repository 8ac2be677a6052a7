"""When delivery is put on hold, and when it goes on: a failing Brevo, events that are always refused, probes."""

from __future__ import annotations

import random
import threading
import time

import pytest
from django.db import connections

from brevo_events import Event, track, track_many
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import claim, deliver, record
from brevo_events.delivery.breaker import ANSWERS, Probe, Streak
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.models import Gate, OutboxEvent
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests.deliveries import answered
from tests.deliveries import claim as leased
from tests.deliveries import record as record_all
from tests.rows import gate_held_elsewhere, held_elsewhere
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def let_time_pass():
    Gate.load().try_now()
    OutboxEvent.objects.unfinished().update(due_at=in_seconds(-1))


def status_of(event):
    return OutboxEvent.objects.get(pk=event.pk).status


class StreakTests:
    @pytest.mark.parametrize(
        ("contacts", "seconds_since_success", "is_outage"),
        [
            ("abc", None, True),
            ("aba", None, False),
            ("aaaaaaaaaaaaaaaaaaaa", None, False),
            ("abc", 60, True),
            ("abc", 1, False),
            ("abc" * 5, 1, False),
            ("abc" * 5 + "a", 1, True),
        ],
    )
    def test_is_an_outage_over_several_contacts_with_enough_answers_to_tell(
        self, contacts, seconds_since_success, is_outage
    ):
        assert Streak(list(contacts), seconds_since_success).is_outage is is_outage

    def test_is_that_of_all_processes_since_the_last_success(self, fake_brevo):
        track("fine", "fine@example.com")
        deliver()
        fake_brevo.always(Reply.error(500, "x"))
        for name in "ab":
            track("a", f"{name}@example.com")
            deliver()

        streak = Streak.load()

        assert len(set(streak.contacts)) == 2
        assert 0 <= streak.seconds_since_success < 60


class PartlyIllTests:
    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
    def test_what_brevo_accepts_goes_out_at_nearly_the_usual_rate(self, fake_brevo, settings, share):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 1, "MAX_ATTEMPTS": 50}
        dice = random.Random(1)
        fake_brevo.when(lambda body: dice.random() < share, Reply.error(500, "x"), repeat=True)
        track_many([Event("a", f"{n}@example.com") for n in range(200)])

        deliver()

        sent = OutboxEvent.objects.filter(status=Status.SENT).count()
        assert sent >= 200 * (1 - share) * 0.85
        assert Gate.load().is_open

    def test_a_success_that_was_in_flight_opens_the_gate(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 4, "RETRY_BACKOFF": 0}
        fake_brevo.when(lambda body: body["event"] == "slow", Reply(204, delay=0.5))
        for n in range(3):
            fake_brevo.when(lambda body, n=n: body["email"] == f"{n}@example.com", Reply.error(500, "x"))
        track("slow", "slow@example.com")
        track_many([Event("a", f"{n}@example.com") for n in range(3)])

        delivered = deliver()

        assert delivered[Status.SENT] == 4

    def test_sixteen_failures_in_a_row_right_after_a_success_are_an_outage(self, fake_brevo):
        track("fine", "fine@example.com")
        deliver()
        fake_brevo.always(Reply.error(500, "x"))
        track_many([Event("a", f"{n}@example.com") for n in range(100)])

        deliver()

        assert Gate.load().reason == GateReason.OUTAGE
        assert OutboxEvent.objects.filter(attempts=1, status=Status.PENDING).count() == ANSWERS


class AlwaysRefusedTests:
    @pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 302])
    def test_twenty_events_that_alone_get_an_account_fault_end_and_the_others_are_sent(
        self, fake_brevo, settings, status
    ):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0, "MAX_ATTEMPTS": 3, "CONCURRENCY": 4}
        reply = Reply.redirect(fake_brevo.url) if status == 302 else Reply.error(status, "forbidden")
        fake_brevo.when(lambda body: body["event"] == "bad", reply, repeat=True)
        bad = track_many([Event("bad", f"bad{n}@example.com") for n in range(20)])
        fine = track_many([Event("fine", f"{n}@example.com") for n in range(100)])
        rounds = 0

        while OutboxEvent.objects.unfinished().exists() and rounds < 40:
            deliver()
            let_time_pass()
            rounds += 1

        assert all(status_of(event) == Status.SENT for event in fine)
        ends = OutboxEvent.objects.filter(pk__in=[event.pk for event in bad])
        assert set(ends.values_list("status", "reason", "attempts")) == {(Status.FAILED, Reason.GAVE_UP, 3)}

    def test_twenty_that_are_the_oldest_do_not_keep_the_others_waiting(self, fake_brevo, settings):
        fake_brevo.when(lambda body: body["event"] == "bad", Reply.error(403, "forbidden"), repeat=True)
        track_many([Event("bad", f"bad{n}@example.com") for n in range(20)])
        track_many([Event("fine", f"{n}@example.com") for n in range(180)])
        rounds = 0

        while OutboxEvent.objects.unfinished().filter(name="fine").exists() and rounds < 10:
            deliver()
            Gate.load().try_now()
            rounds += 1

        # The bad ones close the gate at first, sixteen at a time, and a probe may meet one more: but not ten in a row.
        assert rounds <= 7

    def test_the_event_that_closed_the_gate_is_known(self, fake_brevo):
        fake_brevo.always(Reply.error(403, "forbidden"))
        event = track("bad", "bad@example.com")

        deliver()

        assert Gate.load().closed_by == event.pk


class ProbeTests:
    def test_untried_events_come_first(self, fake_brevo):
        fake_brevo.when(lambda body: body["event"] == "bad", Reply.error(500, "x"), repeat=True)
        track_many([Event("bad", f"bad{n}@example.com") for n in range(10)])
        deliver()
        assert Gate.load().reason == GateReason.OUTAGE
        fine = track("fine", "fine@example.com")

        let_time_pass()
        deliver()

        assert status_of(fine) == Status.SENT
        assert Gate.load().is_open

    def test_any_untried_event_may_be_one_so_that_twenty_bad_ones_are_not_the_next_twenty(self, fake_brevo):
        track_many([Event("bad", f"bad{n}@example.com") for n in range(20)])
        track_many([Event("fine", f"{n}@example.com") for n in range(180)])
        names = []

        for _ in range(60):
            Gate.load().close(GateReason.ACCOUNT, 403)
            Gate.load().try_now()
            (attempt,) = claim(1, probe=Probe(Gate.load())).attempts
            names.append(attempt.event.name)
            record([attempt])  # given back, untried

        assert names.count("bad") <= 20  # a tenth is to be expected

    def test_it_is_not_used_up_by_events_that_wait_behind_others(self, fake_brevo):
        head = track("head", "line@example.com")
        OutboxEvent.objects.filter(pk=head.pk).update(due_at=in_seconds(60))
        track_many([Event("behind", "line@example.com") for _ in range(300)])
        other = track("other", "other@example.com")
        Gate.load().close(GateReason.ACCOUNT, 401)
        Gate.load().try_now()

        deliver()

        assert status_of(other) == Status.SENT

    def test_it_is_left_to_others_if_nothing_can_be_sent(self, fake_brevo):
        head = track("head", "line@example.com")
        OutboxEvent.objects.filter(pk=head.pk).update(due_at=in_seconds(60))
        track("behind", "line@example.com")
        Gate.load().close(GateReason.ACCOUNT, 401)
        Gate.load().try_now()

        deliver()

        assert Gate.load().is_probe_due

    def test_an_operator_can_have_it_made_at_once(self, fake_brevo):
        event = track("a", "a@example.com")
        Gate.load().close(GateReason.THROTTLED, 429, 3600)
        deliver()
        assert status_of(event) == Status.PENDING

        assert Gate.load().try_now()
        deliver()

        assert status_of(event) == Status.SENT
        assert not Gate.load().try_now()


class ClaimedAheadTests:
    @pytest.mark.parametrize(
        "reply", [Reply.error(401, "unauthorized", delay=0.2), Reply.too_many(retry_after=60, delay=0.2)]
    )
    def test_nothing_that_waits_for_a_thread_is_sent_after_an_answer_that_closes_the_gate(
        self, fake_brevo, settings, reply
    ):
        # Late enough that no good answer is in flight, which would open the gate again.
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 4}
        fake_brevo.when(lambda body: int(body["event"]) >= 300, reply, repeat=True)
        track_many([Event(str(n), f"{n}@example.com") for n in range(1000)])

        deliver()

        refused = [request for request in fake_brevo.requests if request.status != 204]
        assert 1 <= len(refused) <= 4
        assert set(OutboxEvent.objects.exclude(status=Status.SENT).values_list("attempts", flat=True)) == {0}

    def test_nothing_that_waits_for_a_thread_is_sent_after_an_outage_has_closed_the_gate(
        self, fake_brevo, settings, monkeypatch
    ):
        monkeypatch.setattr("brevo_events.delivery.pipeline.GATE_TICK", 60)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 4}
        fake_brevo.when(lambda body: int(body["event"]) >= 300, Reply.error(500, "x", delay=0.1), repeat=True)
        track_many([Event(str(n), f"{n}@example.com") for n in range(1000)])

        deliver()

        assert Gate.load().reason == GateReason.OUTAGE
        assert len([request for request in fake_brevo.requests if request.status == 500]) <= ANSWERS + 12

    def test_an_answer_whose_row_is_locked_elsewhere_holds_up_nobody_else(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        fake_brevo.when(lambda body: body["event"] == "bad", Reply.error(403, "forbidden", delay=0.3))
        bad = track("bad", "bad@example.com")
        fine = [track("fine", f"{n}@example.com") for n in range(3)]
        pipeline = Pipeline()
        pipeline.step()

        with held_elsewhere(bad):
            wait_until(lambda: pipeline.step() and all(status_of(event) == Status.SENT for event in fine), timeout=5)

        pipeline.finish()
        pipeline.close()
        assert Gate.load().closed_by == bad.pk


@pytest.mark.usefixtures("by_hand")
class LockedGateTests:
    def test_an_answer_that_would_close_it_is_recorded_without_waiting(self):
        track("a", "a@example.com")
        (event,) = leased(10)

        with gate_held_elsewhere():
            assert record_all([answered(event, 401)]) == []
            assert Gate.load().is_open

        assert status_of(event) == Status.PENDING
        record_all([answered(leased(10)[0], 401)])
        assert Gate.load().reason == GateReason.ACCOUNT

    def test_one_that_would_open_it_too(self):
        track("a", "a@example.com")
        (event,) = leased(10)
        Gate.load().close(GateReason.OUTAGE, 503, 60)

        with gate_held_elsewhere():
            assert record_all([answered(event)]) == []

        assert status_of(event) == Status.SENT
        assert Gate.load().is_closed

    def test_the_probe_cannot_be_won(self):
        Gate.load().close(GateReason.OUTAGE, 503, 60)
        Gate.load().try_now()

        with gate_held_elsewhere():
            assert not Probe(Gate.load()).win()

        assert Probe(Gate.load()).win()

    def test_brevo_is_not_flooded_meanwhile(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        fake_brevo.always(Reply.error(401, "unauthorized"))
        track_many([Event("a", f"{n}@example.com") for n in range(50)])
        pipeline, began = Pipeline(), time.monotonic()

        with gate_held_elsewhere():
            while time.monotonic() - began < 1.5:
                pipeline.step()

        pipeline.finish()
        pipeline.close()
        assert 1 <= len(fake_brevo.requests) <= 12


class FlappingTests:
    def test_goes_on_in_each_good_phase(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0.5, "MAX_ATTEMPTS": 50}
        began = time.monotonic()
        is_bad = lambda _body: int(time.monotonic() - began) % 2 == 1  # noqa: E731
        fake_brevo.when(is_bad, Reply.error(500, "x"), repeat=True)
        track_many([Event("a", f"{n}@example.com") for n in range(800)])
        worker = Worker()
        thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))

        thread.start()
        while OutboxEvent.objects.unfinished().exists() and time.monotonic() - began < 40:
            time.sleep(0.2)
        worker.stop()
        thread.join(20)

        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 800
