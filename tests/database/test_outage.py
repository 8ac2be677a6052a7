from __future__ import annotations

import json
import threading
import time

import pytest
from django.core.management import call_command
from django.db import connection, connections

from brevo_events import Event, track, track_many
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import deliver
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.signals import gate_closed
from brevo_events.testing import Reply
from tests import worker
from tests.rows import held_elsewhere
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def let_time_pass():
    """Move everything that waits into the past: the gate's cool-down and the backoffs."""
    Gate.objects.exclude(closed_until=None).update(closed_until=in_seconds(-1))
    OutboxEvent.objects.unfinished().update(due_at=in_seconds(-1))


class OutageTests:
    def test_three_contacts_in_a_row_close_the_gate(self, fake_brevo):
        fake_brevo.always(Reply.error(500, "internal_error"))
        track_many([Event("a", f"{n}@example.com") for n in range(3)])

        deliver()

        assert Gate.load().reason == GateReason.OUTAGE
        assert deliver() == {}

    def test_one_contact_alone_does_not(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
        fake_brevo.always(Reply.error(500, "internal_error"))
        track("a", "a@example.com")

        deliver()

        assert not Gate.load().is_closed
        assert OutboxEvent.objects.get().reason == Reason.GAVE_UP

    def test_an_answer_about_an_event_begins_a_new_row(self, fake_brevo):
        fake_brevo.when(lambda body: body["event"] == "poison", Reply.error(500, "x"), repeat=True)
        for n in range(6):
            track("poison", f"{n}@example.com")
            track("fine", "fine@example.com")
            deliver()

        assert not Gate.load().is_closed

    def test_counts_no_attempt_but_those_that_closed_the_gate(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 8}
        fake_brevo.always(Reply.error(500, "internal_error"))
        track_many([Event("a", f"{n}@example.com") for n in range(50)])

        deliver()

        assert OutboxEvent.objects.filter(attempts=1).count() == 3
        assert OutboxEvent.objects.filter(attempts=0).count() == 47
        assert len(fake_brevo.requests) <= 16

    def test_of_an_hour_fails_nothing_and_everything_goes_out_after_it(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MAX_ATTEMPTS": 2}
        closings = []

        def count(**kwargs):
            closings.append(1)

        gate_closed.connect(count)
        fake_brevo.always(Reply.error(503, "unavailable"))
        track_many([Event("a", f"{n % 10}@example.com", object_id=str(n)) for n in range(100)])
        deliver()
        made = len(fake_brevo.requests)
        try:
            for _ in range(20):
                let_time_pass()
                deliver()
        finally:
            gate_closed.disconnect(count)
        during = len(fake_brevo.requests) - made
        counted = sum(OutboxEvent.objects.values_list("attempts", flat=True))
        fake_brevo.always(None)
        let_time_pass()

        delivered = deliver()

        # Three at each probe: one event alone may fail whatever happens.
        assert (during, counted, len(closings)) == (60, 3, 1)
        assert delivered == {Status.SENT: 100}

    def test_one_poison_event_in_a_quiet_shop_ends_as_failed_and_holds_up_nobody(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MAX_ATTEMPTS": 5}
        fake_brevo.when(lambda body: body["event"] == "poison", Reply.error(500, "x"), repeat=True)
        poison = track("poison", "a@example.com")
        behind = track("fine", "a@example.com")
        other = track("fine", "b@example.com")
        deliver()
        assert OutboxEvent.objects.get(pk=other.pk).status == Status.SENT

        for _ in range(4):
            assert OutboxEvent.objects.get(pk=behind.pk).status == Status.PENDING
            let_time_pass()
            deliver()

        poison.refresh_from_db()
        assert (poison.status, poison.reason, poison.attempts) == (Status.FAILED, Reason.GAVE_UP, 5)
        assert OutboxEvent.objects.get(pk=behind.pk).status == Status.SENT
        assert not Gate.load().is_closed


class WrongKeyTests:
    def test_costs_a_handful_of_requests_with_ten_thousand_events_waiting(self, fake_brevo, settings):
        right = settings.BREVO_EVENTS
        settings.BREVO_EVENTS = {**right, "MA_KEY": "zyxwvutsrqponmlkjihgfedc", "CONCURRENCY": 4}
        track_many([Event("a", f"{n}@example.com") for n in range(10_000)])

        for _ in range(60):
            deliver()

        assert len(fake_brevo.requests) <= 8
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) == {0}

        settings.BREVO_EVENTS = {**right, "CONCURRENCY": 4}
        Gate.objects.update(closed_until=in_seconds(-1))
        deliver(limit=200)

        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 200


class PauseTests:
    def test_holds_back_everything_and_is_ended_by_an_operator_only(self, fake_brevo):
        Gate.load().pause()
        track("a", "a@example.com")

        assert deliver() == {}

        Gate.load().resume()
        assert deliver() == {Status.SENT: 1}

    def test_no_probe_goes_out_while_paused(self, fake_brevo):
        Gate.load().close(GateReason.ACCOUNT, 401)
        Gate.load().pause()
        track("a", "a@example.com")
        Gate.objects.update(closed_until=in_seconds(-1))

        assert deliver() == {}
        assert fake_brevo.requests == []

    def test_is_no_fault_for_the_command(self, fake_brevo, capsys):
        Gate.load().pause()

        call_command("send_brevo_events")

        assert "paused by an operator" in capsys.readouterr().err


class ProbeTests:
    def test_is_won_by_one_of_many_after_each_cool_down(self):
        Gate.load().close(GateReason.ACCOUNT, 401)
        Gate.objects.update(closed_until=in_seconds(-1))
        seen = [Gate.load() for _ in range(6)]
        won, start = [], threading.Barrier(6)

        def try_to_win(gate):
            start.wait(10)
            won.append(gate.win_probe())
            connections.close_all()

        threads = [threading.Thread(target=try_to_win, args=[gate]) for gate in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(won) == [False] * 5 + [True]
        assert not Gate.load().is_probe_due


class ThrottledTests:
    def test_none_of_three_workers_sends_until_it_is_over(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2, "TIMEOUT": 10}
        name = connection.settings_dict["NAME"]
        workers = [worker.start(name, settings.BREVO_EVENTS, "send_brevo_events", "--loop") for _ in range(3)]
        try:
            track_many([Event("warm", f"w{n}@example.com") for n in range(6)])
            fake_brevo.wait_for(6, timeout=20)
            time.sleep(1.5)
            fake_brevo.next(Reply.too_many(retry_after=3))
            track("first", "first@example.com")
            fake_brevo.wait_for(7, timeout=10)
            wait_until(lambda: Gate.load().is_closed)
            track_many([Event("a", f"{n}@example.com") for n in range(30)])
            fake_brevo.wait_for(38, timeout=20)
        finally:
            for process in workers:
                process.terminate()
            for process in workers:
                process.wait(20)

        throttled_at = next(request.received_at for request in fake_brevo.requests if request.status == 429)
        later = [request.received_at - throttled_at for request in fake_brevo.requests[7:]]
        assert min(later) >= 2.9


class IndependenceTests:
    def test_a_slow_answer_holds_up_none_of_five_hundred_others(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 5}
        fake_brevo.when(lambda body: body["email"] == "slow@example.com", Reply(204, delay=3))
        track("a", "slow@example.com")
        track_many([Event("a", f"{n}@example.com") for n in range(500)])
        began = time.monotonic()

        deliver()

        arrived = [request.received_at - began for request in fake_brevo.requests]
        assert len(arrived) == 501
        assert max(arrived) < 3
        finished = OutboxEvent.objects.exclude(email="slow@example.com").order_by("-finished_at")[0].finished_at
        slow = SendAttempt.objects.get(event__email="slow@example.com").started_at
        assert (finished - slow).total_seconds() < 3

    def test_a_transaction_that_holds_a_contacts_rows_holds_up_nobody_else(self, fake_brevo):
        held = track_many([Event("a", "held@example.com") for _ in range(5)])
        track_many([Event("a", f"{n}@example.com") for n in range(100)])

        with held_elsewhere(*held):
            began = time.monotonic()
            delivered = deliver()
            took = time.monotonic() - began

        assert delivered == {Status.SENT: 100}
        assert took < 5
        assert deliver() == {Status.SENT: 5}


class StatusCommandTests:
    def status(self, *arguments):
        try:
            call_command("brevo_events_status", *arguments)
        except SystemExit as ended:
            return ended.code
        return 0

    def test_says_how_things_are(self, fake_brevo, capsys):
        track("a", "a@example.com")
        deliver()
        track("b", "b@example.com")

        assert self.status("--format", "json") == 0

        figures = json.loads(capsys.readouterr().out)
        assert (figures["pending"], figures["sending"], figures["failed"], figures["gate"]) == (1, 0, 0, "open")
        assert figures["last_sent_at"] is not None
        assert 0 <= figures["oldest_due_seconds"] < 60

    def test_takes_nothing_for_late_that_a_user_has_ended_or_paused(self, fake_brevo, capsys):
        event = track("a", "a@example.com")
        OutboxEvent.objects.update(due_at=in_seconds(-100))
        Gate.load().pause()
        assert self.status("--max-age", "10") == 0
        Gate.load().resume()
        OutboxEvent.objects.filter(pk=event.pk).update(status=Status.CANCELLED)

        assert self.status("--max-age", "10", "--format", "json") == 0
        assert '"oldest_due_seconds": 0' in capsys.readouterr().out

    def test_has_an_exit_code_for_each_trouble(self, fake_brevo, capsys):
        event = track("a", "a@example.com")
        OutboxEvent.objects.update(due_at=in_seconds(-100))
        assert self.status("--max-age", "1000") == 0
        assert self.status("--max-age", "10") == 3
        OutboxEvent.objects.filter(pk=event.pk).update(status=Status.FAILED, due_at=None)
        assert self.status("--max-failed", "1") == 0
        assert self.status("--max-failed", "0") == 4
        Gate.load().close(GateReason.ACCOUNT, 401)
        assert self.status() == 2
        Gate.load().pause()
        assert self.status() == 0
        assert "Brevo does not accept the key (401)" in capsys.readouterr().err
