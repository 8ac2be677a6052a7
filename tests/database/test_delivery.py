from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import pytest
from django.db import DataError, OperationalError, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from brevo_events import Event, clock, delivery, track, track_many
from brevo_events.answers import Answer
from brevo_events.choices import GateReason, Reason, Status
from brevo_events.clock import UtcNow, boottime, in_seconds
from brevo_events.delivery import claims, deliver, records, transactions
from brevo_events.delivery.attempts import Attempt
from brevo_events.delivery.claims import lease_seconds
from brevo_events.delivery.senders import Senders
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import Gate, OutboxEvent, SendAttempt
from brevo_events.signals import event_failed, event_sent, gate_closed, gate_opened
from brevo_events.testing import FakeBrevo, Reply
from brevo_events.transports import Transport
from tests.conftest import KEY
from tests.deliveries import answered, claim, record
from tests.rows import held_elsewhere
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]


def track_for(*emails):
    return [track("cart_updated", email) for email in emails]


def end_lease(*events):
    OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(due_at=in_seconds(-1))


def fresh(event):
    return OutboxEvent.objects.get(pk=event.pk)


def seconds_until(moment):
    return (moment - OutboxEvent.objects.annotate(now=UtcNow()).values_list("now", flat=True)[0]).total_seconds()


class ClaimTests:
    def test_gives_an_event_to_one_worker_only(self):
        (event,) = track_for("ada@example.com")

        assert claim(10) == [event]
        assert claim(10) == []

    def test_leases_for_three_attempts_with_a_token_of_its_own(self):
        track_for("ada@example.com", "bob@example.com")

        first, second = claim(1)[0], claim(1)[0]

        assert first.lease_token != second.lease_token
        assert first.lease_token == fresh(first).lease_token
        assert fresh(first).status == Status.SENDING
        assert seconds_until(fresh(first).due_at) == pytest.approx(lease_seconds(), abs=5)

    def test_takes_the_oldest_first_and_no_more_than_asked(self):
        events = track_for(*(f"{name}@example.com" for name in "abcd"))

        assert claim(2) == events[:2]
        assert claim(0) == []

    def test_takes_back_what_a_dead_worker_had(self):
        (event,) = track_for("ada@example.com")
        first = claim(10)[0]
        end_lease(event)

        second = claim(10)

        assert second == [event]
        assert second[0].lease_token != first.lease_token
        assert claim(10) == []

    def test_gives_a_retry_to_one_worker_only(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0}
        track_for("ada@example.com")
        record([answered(event, 500) for event in claim(10)])

        assert len(claim(10)) == 1
        assert claim(10) == []

    def test_leaves_what_is_not_due(self):
        (event,) = track_for("ada@example.com")
        OutboxEvent.objects.update(due_at=in_seconds(60))

        assert claim(10) == []
        assert fresh(event).status == Status.PENDING

    def test_must_not_run_inside_a_transaction(self, monkeypatch):
        track_for("ada@example.com")

        with transaction.atomic(), pytest.raises(RuntimeError):
            claim(1)

    def test_never_waits_for_a_user_who_holds_a_row(self):
        held, other = track_for("ada@example.com", "bob@example.com")

        with held_elsewhere(held):
            began = time.monotonic()
            claimed = claim(10)
            took = time.monotonic() - began

        assert claimed == [other]
        assert took < 1
        assert claim(10) == [held]

    def test_threads_at_once_never_share_an_event(self):
        track_many([Event("cart_updated", f"{n % 20}@example.com") for n in range(60)])
        claimed, errors = [], []

        def work():
            try:
                for _ in range(40):
                    mine = claim(3)
                    claimed.extend(event.pk for event in mine)
                    left = [answered(event) for event in mine]
                    while left := record(left):
                        time.sleep(0.01)
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        OutboxEvent.objects.filter(status=Status.PENDING).update(due_at=UtcNow())
        while rest := claim(50):
            claimed.extend(event.pk for event in rest)
            record([answered(event) for event in rest])

        assert errors == []
        assert len(claimed) == len(set(claimed)) == 60
        assert set(OutboxEvent.objects.values_list("status", flat=True)) == {Status.SENT}


class OrderTests:
    def test_only_the_first_of_a_contact_goes_out(self):
        first, second, other = track_for("ada@example.com", "ADA@Example.com", "bob@example.com")

        assert claim(10) == [first, other]
        assert claim(10) == []
        assert fresh(second).parked

    def test_the_next_one_follows_at_once_when_the_first_has_ended(self):
        first, second = track_for("ada@example.com", "ada@example.com")
        claimed = claim(10)
        assert claim(10) == []

        record([answered(claimed[0])])

        assert claim(10) == [second]
        assert not fresh(second).parked

    def test_a_final_failure_lets_the_next_one_go(self):
        _first, second = track_for("ada@example.com", "ada@example.com")
        claimed = claim(10)
        assert claim(10) == []

        record([answered(claimed[0], 400)])

        assert claim(10) == [second]

    def test_waits_behind_a_retry(self):
        first, _second = track_for("ada@example.com", "ada@example.com")
        record([answered(event, 500) for event in claim(10)])

        assert claim(10) == []

        end_lease(first)
        assert claim(10) == [first]

    def test_does_not_wait_behind_one_whose_delay_is_not_over(self):
        delayed, prompt = track_for("ada@example.com", "ada@example.com")
        OutboxEvent.objects.filter(pk=delayed.pk).update(available_at=in_seconds(60), due_at=in_seconds(60))

        assert claim(10) == [prompt]

    def test_accents_and_letter_case_make_the_contacts_that_they_should(self):
        events = track_for("josé@example.com", "jose@example.com", "JOSÉ@example.com")

        assert claim(10) == events[:2]

    def test_a_long_queue_of_one_contact_keeps_nobody_waiting(self):
        track_many([Event("cart_updated", "ada@example.com") for _ in range(50)])
        (other,) = track_for("bob@example.com")

        assert other in claim(1) + claim(1)

    def test_others_go_out_before_a_long_queue_of_one_contact_is_put_in_order(self):
        track_many([Event("cart_updated", "ada@example.com") for _ in range(300)])
        claim(1)
        (other,) = track_for("bob@example.com")

        assert claim(1) == [other]
        assert OutboxEvent.objects.filter(parked=True).count() < 100

    def test_a_long_queue_is_put_in_order_a_part_at_a_time(self, fake_brevo, monkeypatch):
        monkeypatch.setattr(claims, "MAX_TIDIED", 50)
        track_many([Event("cart_updated", "ada@example.com") for _ in range(300)])
        OutboxEvent.objects.filter(pk=OutboxEvent.objects.order_by("pk")[0].pk).update(due_at=in_seconds(60))

        assert claim(1) == []
        assert 0 < OutboxEvent.objects.filter(parked=True).count() < 299

        deliver()

        assert OutboxEvent.objects.filter(parked=True).count() == 299

    def test_blocked_events_leave_the_due_index_yet_keep_a_due_time(self):
        track_many([Event("cart_updated", "ada@example.com") for _ in range(10)])
        claim(10)
        claim(10)

        assert not OutboxEvent.objects.due().exists()
        assert not OutboxEvent.objects.unfinished().filter(due_at=None).exists()

    def test_a_stale_parking_ends_by_itself(self):
        first, second = track_for("ada@example.com", "ada@example.com")
        claim(10)
        claim(10)
        OutboxEvent.objects.filter(pk=first.pk).delete()
        end_lease(second)

        assert claim(10) == [second]

    def test_looks_again_soon_where_the_one_ahead_is_held_by_somebody(self):
        first, second = track_for("ada@example.com", "ada@example.com")

        with held_elsewhere(first):
            claimed = claim(10)

        assert claimed == []
        assert not fresh(second).parked
        assert seconds_until(fresh(second).due_at) < 2


class RecordTests:
    def test_writes_the_answer_and_the_attempt(self):
        (event,) = track_for("ada@example.com")

        left = record([answered(claim(1)[0], 204, duration=0.125)])

        found = fresh(event)
        assert left == []
        assert (found.status, found.response_code, found.attempts) == (Status.SENT, 204, 1)
        assert (found.due_at, found.lease_token) == (None, None)
        assert found.finished_at is not None
        assert SendAttempt.objects.get().duration_ms == 125

    def test_keeps_the_reason_of_a_rejection_with_brevos_code_and_message(self):
        (event,) = track_for("ada@example.com")
        body = '{"code": "invalid_parameter", "message": "Bad email"}'

        record([answered(claim(1)[0], 400, body=body)])

        attempt = SendAttempt.objects.get()
        assert (fresh(event).status, fresh(event).reason) == (Status.FAILED, Reason.REJECTED)
        assert (attempt.error, attempt.message) == ("invalid_parameter", "Bad email")

    def test_stores_any_answer_of_any_transport(self):
        (event,) = track_for("ada@example.com")
        body = '{"code": "\\u0000\\ud800' + "c" * 200 + '"}\0\ud800' + "é" * 3000

        record([answered(claim(1)[0], 400, body=body, error="\0\ud800" + "e" * 200)])

        attempt = SendAttempt.objects.get()
        assert len(attempt.answer.encode()) <= 2000
        assert attempt.error.startswith("\ufffd?ee")
        assert fresh(event).status == Status.FAILED

    def test_one_answer_that_the_database_refuses_keeps_no_other_from_being_recorded(self, monkeypatch):
        def insert(using, attempts):
            if any(attempt.answer.body == "poison" for attempt in attempts):
                raise DataError("value out of range")
            return insert_attempts(using, attempts)

        insert_attempts = records._insert_attempts
        monkeypatch.setattr(records, "_insert_attempts", insert)
        track_for("ada@example.com", "bob@example.com", "cy@example.com")
        first, second, third = claim(3)

        left = record([answered(first), answered(second, body="poison"), answered(third)])

        assert left == []
        assert [fresh(event).status for event in (first, third)] == [Status.SENT] * 2
        assert (fresh(second).status, fresh(second).attempts) == (Status.PENDING, 1)
        assert second.send_attempts.get().error == "transport"

    def test_a_late_worker_overwrites_nothing_and_adds_nothing(self, caplog):
        (event,) = track_for("ada@example.com")
        late = claim(1)[0]
        end_lease(event)
        record([answered(claim(1)[0], 204)])

        left = record([answered(late, 400)])

        assert left == []
        assert fresh(event).status == Status.SENT
        assert SendAttempt.objects.count() == 1
        assert "lease had run out" in caplog.text

    def test_a_late_worker_leaves_the_lease_of_the_next_alone(self):
        (event,) = track_for("ada@example.com")
        late = claim(1)[0]
        end_lease(event)
        current = claim(1)[0]

        record([answered(late, 204)])

        assert fresh(event).lease_token == current.lease_token
        assert fresh(event).status == Status.SENDING

    def test_forgets_an_event_that_was_deleted_meanwhile(self):
        (event,) = track_for("ada@example.com")
        claimed = claim(1)
        OutboxEvent.objects.all().delete()

        assert record([answered(claimed[0])]) == []
        assert not SendAttempt.objects.exists()

    def test_keeps_in_mind_what_somebody_else_has_locked(self):
        held, _free = track_for("ada@example.com", "bob@example.com")
        attempts = [answered(event) for event in claim(2)]

        with held_elsewhere(held):
            left = record(attempts)

        assert [attempt.event for attempt in left] == [held]
        assert SendAttempt.objects.count() == 1
        assert record(left) == []
        assert fresh(held).status == Status.SENT

    def test_leaves_it_to_a_later_claim_to_free_a_follower_that_somebody_else_has_locked(self):
        first, second = track_for("ada@example.com", "ada@example.com")
        attempts = [answered(event) for event in claim(10)]
        assert claim(10) == []

        with held_elsewhere(second):
            left = record(attempts)

        assert left == []
        assert fresh(first).status == Status.SENT
        assert 0 < seconds_until(fresh(first).due_at) <= 1.5
        end_lease(first)
        assert claim(10) == [second]
        assert fresh(first).due_at is None

    @pytest.mark.parametrize("status", [408, 425, 500, 503, None])
    def test_counts_a_passing_fault_and_waits(self, status):
        (event,) = track_for("ada@example.com")

        record([answered(claim(1)[0], status)])

        found = fresh(event)
        assert (found.status, found.attempts, found.lease_token) == (Status.PENDING, 1, None)
        assert 20 <= seconds_until(found.due_at) <= 37
        assert found.available_at == event.available_at

    def test_waits_twice_as_long_each_time(self):
        (event,) = track_for("ada@example.com")
        waits = []
        for _ in range(3):
            end_lease(event)
            record([answered(claim(1)[0], 500)])
            waits.append(seconds_until(fresh(event).due_at))

        assert waits == [pytest.approx(wait, rel=0.3) for wait in (30, 60, 120)]

    def test_obeys_retry_after(self):
        (event,) = track_for("ada@example.com")

        record([answered(claim(1)[0], 503, headers={"retry-after": "600"})])

        assert seconds_until(fresh(event).due_at) == pytest.approx(600, abs=5)

    def test_gives_up_after_the_last_attempt(self, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MAX_ATTEMPTS": 2}
        (event,) = track_for("ada@example.com")
        for _ in range(2):
            end_lease(event)
            record([answered(claim(1)[0], 500)])

        found = fresh(event)
        assert (found.status, found.reason, found.attempts) == (Status.FAILED, Reason.GAVE_UP, 2)
        assert found.due_at is None

    def test_tells_observers_and_survives_them(self):
        seen = []

        def failing(sender, event, **kwargs):
            seen.append((event.name, event.status, event.response_code))
            raise ValueError("an observer fails")

        track("a", "a@example.com")
        track("b", "b@example.com")
        event_sent.connect(failing)
        event_failed.connect(failing)
        try:
            record([answered(event, status) for event, status in zip(claim(2), (204, 400), strict=True)])
        finally:
            event_sent.disconnect(failing)
            event_failed.disconnect(failing)

        assert seen == [("a", Status.SENT, 204), ("b", Status.FAILED, 400)]

    def test_logs_a_failure_without_the_address(self, caplog):
        (event,) = track_for("ada@example.com")

        record([answered(claim(1)[0], 400)])

        assert f"cart_updated #{event.pk} failed" in caplog.text
        assert "ada" not in caplog.text


class GateTests:
    @pytest.fixture
    def brevo(self, fake_brevo):
        return fake_brevo

    def over(self):
        Gate.objects.update(closed_until=in_seconds(-1))

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 302])
    def test_a_fault_of_the_account_closes_it_and_uses_up_no_attempt(self, brevo, status):
        (event,) = track_for("ada@example.com")
        brevo.next(Reply.error(status, "x") if status != 302 else Reply.redirect(brevo.url))

        deliver()

        gate, found = Gate.load(), fresh(event)
        assert (gate.is_closed, gate.reason, gate.response_code) == (True, GateReason.ACCOUNT, status)
        assert (found.status, found.attempts, found.response_code) == (Status.PENDING, 0, status)
        assert found.send_attempts.count() == 1
        assert deliver() == {}

    def test_one_probe_after_each_cool_down_which_doubles(self, brevo):
        track_for("ada@example.com", "bob@example.com")
        brevo.always(Reply.error(401, "unauthorized"))
        deliver()
        made, cooldowns = len(brevo.requests), [Gate.load().cooldown]

        for _ in range(7):
            self.over()
            OutboxEvent.objects.update(due_at=UtcNow())
            deliver()
            deliver()
            cooldowns.append(Gate.load().cooldown)

        assert len(brevo.requests) == made + 7
        assert cooldowns == [5, 10, 20, 40, 80, 160, 300, 300]

    def test_the_next_probe_is_another_event(self, brevo):
        track_for("ada@example.com", "bob@example.com")
        brevo.always(Reply.error(401, "unauthorized"))
        deliver()
        brevo.reset()
        brevo.always(Reply.error(500, "down"))

        for _ in range(2):
            self.over()
            deliver()

        assert len({request.json["email"] for request in brevo.requests}) == 2
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) == {0}

    def test_opens_at_an_answer_about_an_event_and_everything_goes_out(self, brevo):
        track_for("ada@example.com", "bob@example.com", "cy@example.com")
        brevo.always(Reply.error(401, "unauthorized"))
        deliver()
        brevo.always(None)
        self.over()

        delivered = deliver()

        assert delivered == {Status.SENT: 3}
        assert not Gate.load().is_closed

    def test_one_untried_event_is_not_taken_for_all_that_is_due(self, brevo):
        for event in track_for("ada@example.com", "bob@example.com", "cy@example.com")[:2]:
            SendAttempt.objects.create(event=event, started_at=timezone.now(), duration_ms=1, response_code=401)
        Gate.load().close(GateReason.ACCOUNT, 401)
        self.over()

        assert deliver() == {Status.SENT: 3}
        assert brevo.requests[0].json["email"] == "cy@example.com"

    def test_a_rejected_probe_opens_it_too(self, brevo):
        track_for("ada@example.com")
        brevo.next(Reply.error(401, "unauthorized"), Reply.error(400, "invalid_parameter"))
        deliver()
        self.over()

        assert deliver() == {Status.FAILED: 1}
        assert not Gate.load().is_closed

    def test_closes_after_a_429_for_as_long_as_it_says(self, brevo):
        (event,) = track_for("ada@example.com")
        brevo.next(Reply.too_many(reset=120))

        deliver()

        gate = Gate.load()
        assert gate.reason == GateReason.THROTTLED
        assert seconds_until(gate.closed_until) == pytest.approx(120, abs=5)
        assert fresh(event).attempts == 0

    def test_holds_back_what_is_queued_when_it_closes(self, brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        track_many([Event("a", f"{n}@example.com") for n in range(100)])
        brevo.always(Reply.error(401, "unauthorized", delay=0.05))

        deliver()

        assert len(brevo.requests) <= 4
        assert OutboxEvent.objects.filter(status=Status.PENDING, attempts=0).count() == 100

    def test_a_probe_without_anything_due_is_not_used_up(self, brevo):
        Gate.load().close(GateReason.ACCOUNT, 401)
        self.over()

        deliver()

        assert Gate.load().is_probe_due

    def test_sends_a_signal_at_each_turn_and_only_then(self, brevo):
        seen = []

        def closed(sender, gate, **kwargs):
            seen.append(("closed", gate.reason))

        def opened(sender, gate, **kwargs):
            seen.append(("opened", gate.reason))

        track_for("ada@example.com", "bob@example.com")
        gate_closed.connect(closed)
        gate_opened.connect(opened)
        brevo.always(Reply.error(401, "unauthorized"))
        try:
            deliver()
            self.over()
            deliver()
            brevo.always(None)
            self.over()
            OutboxEvent.objects.update(due_at=UtcNow())
            deliver()
        finally:
            gate_closed.disconnect(closed)
            gate_opened.disconnect(opened)

        assert seen == [("closed", GateReason.ACCOUNT), ("opened", "")]

    @pytest.mark.parametrize("status", [401, 429, 503])
    def test_a_failure_in_flight_when_it_closed_does_not_lengthen_the_cool_down(self, status):
        track_for("ada@example.com", "bob@example.com", "cy@example.com")
        claimed = claim(3)
        Gate.load().close(GateReason.ACCOUNT, 401)

        record([answered(event, status) for event in claimed])

        gate = Gate.load()
        assert (gate.is_closed, gate.cooldown) == (True, Gate.FIRST_COOLDOWN)
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) == {0}

    @pytest.mark.parametrize("reason", [GateReason.ACCOUNT, GateReason.OUTAGE])
    def test_an_accepted_event_that_was_in_flight_when_it_closed_opens_it(self, reason):
        track_for("ada@example.com")
        (claimed,) = claim(1)
        Gate.load().close(reason, 503)

        record([answered(claimed)])

        assert Gate.load().is_open

    def test_an_accepted_event_that_was_in_flight_does_not_shorten_the_time_that_a_429_asks_for(self):
        track_for("ada@example.com")
        (claimed,) = claim(1)
        Gate.load().close(GateReason.THROTTLED, 429, 30)

        record([answered(claimed)])

        assert Gate.load().is_closed

    def test_nothing_is_leased_while_it_is_closed(self):
        track_for("ada@example.com")
        Gate.load().close(GateReason.ACCOUNT, 401)

        assert claim(1) == []
        assert OutboxEvent.objects.due().filter(status=Status.PENDING).exists()


class DeliverTests:
    @pytest.fixture
    def logged(self):
        """What was logged, and whether a transaction was open then."""

        class Watching(logging.Handler):
            def emit(self, record):
                seen.append((record.getMessage(), connections["default"].in_atomic_block))

        seen, watching, logger = [], Watching(), logging.getLogger("brevo_events.delivery")
        logger.addHandler(watching)
        yield seen
        logger.removeHandler(watching)

    def test_goes_on_until_nothing_is_due(self, fake_brevo):
        track_many([Event("cart_updated", f"{n % 7}@example.com", object_id=str(n)) for n in range(50)])

        assert deliver() == {Status.SENT: 50}
        for contact in range(7):
            mine = [
                int(r.json["eventdata"]["id"])
                for r in fake_brevo.requests
                if r.json["email"] == f"{contact}@example.com"
            ]
            assert mine == sorted(mine)

    def test_stops_at_its_limit(self, fake_brevo):
        track_many([Event("a", f"{n}@example.com") for n in range(5)])

        assert deliver(limit=2) == {Status.SENT: 2}
        assert len(fake_brevo.requests) == 2

    def test_claims_nothing_where_nothing_could_be_sent(self, settings):
        (event,) = track_for("ada@example.com")
        settings.BREVO_EVENTS = {"TRANSPORT": "http", "URL": "http://127.0.0.1:1/", "ENGINE": "worker"}

        with pytest.raises(InvalidSetting):
            deliver()

        assert fresh(event).status == Status.PENDING

    def test_has_no_transaction_open_while_it_sends(self, settings, monkeypatch):
        class Looking(Transport):
            def send(self, body, call):
                seen.append(main.in_atomic_block)
                return Answer(204)

        seen, main = [], connections["default"]
        monkeypatch.setattr("brevo_events.transports.transport_class", lambda: Looking)
        track_for("ada@example.com")

        deliver()

        assert seen == [False]

    def test_an_observer_that_tracks_again_does_not_deliver_within_the_delivery(self, settings, fake_brevo):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "ENGINE": "inline"}

        def again(sender, event, **kwargs):
            if event.name == "first":
                track("second", event.email)

        event_sent.connect(again)
        try:
            track("first", "ada@example.com")
        finally:
            event_sent.disconnect(again)

        assert [request.json["event"] for request in fake_brevo.requests] == ["first", "second"]

    def test_one_that_hangs_holds_up_nobody_else(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 0.5}
        fake_brevo.when(lambda body: body["email"] == "slow@example.com", Reply.hang(5))
        track_many([Event("a", email) for email in ["slow@example.com", *(f"{n}@example.com" for n in range(20))]])

        deliver()

        slow = OutboxEvent.objects.of_contact("slow@example.com").get()
        assert (slow.status, slow.attempts) == (Status.PENDING, 1)
        assert slow.send_attempts.get().error == "timeout"
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 20

    @pytest.mark.parametrize("timeout", [0.1, 10, 60])
    def test_sends_with_any_timeout(self, fake_brevo, settings, timeout):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": timeout}
        track_for("ada@example.com")

        assert deliver() == {Status.SENT: 1}

    def test_records_each_kind_of_trouble_and_goes_on(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 0.3, "CONCURRENCY": 4}
        troubles = {
            "hang": Reply.hang(3),
            "drip": Reply.drip(0.05),
            "reset": Reply.reset(),
            "huge": Reply.huge(100_000_000, 400),
            "rubbish": Reply.rubbish(),
            "half": Reply.half_body(400),
            "empty": Reply(400),
            "text": Reply(400, body=b"no JSON"),
            "fine": Reply(204),
        }
        for name, reply in troubles.items():
            fake_brevo.when(lambda body, name=name: body["event"] == name, reply)
        track_many([Event(name, f"{name}@example.com") for name in troubles])

        deliver()

        codes = dict(SendAttempt.objects.values_list("event__name", "response_code"))
        errors = dict(SendAttempt.objects.values_list("event__name", "error"))
        assert codes == dict.fromkeys(("hang", "drip", "reset", "rubbish")) | dict.fromkeys(
            ("huge", "half", "empty", "text"), 400
        ) | {"fine": 204}
        assert errors["hang"] == errors["drip"] == "timeout"
        assert errors["reset"] == "connection"
        assert errors["rubbish"] == "protocol"

    def test_a_redirect_shows_the_other_host_nothing(self, fake_brevo):
        with FakeBrevo() as elsewhere:
            (event,) = track_for("ada@example.com")
            fake_brevo.next(Reply.redirect(elsewhere.url, 307))

            deliver()

            assert elsewhere.requests == []
        assert (fresh(event).status, fresh(event).attempts) == (Status.PENDING, 0)
        assert Gate.load().is_closed

    def test_keeps_answers_when_the_database_fails_for_a_moment(self, fake_brevo, monkeypatch):
        failing = iter([True])

        def sometimes(attempts, notify):
            if next(failing, False):
                raise OperationalError("gone")
            return delivery.record(attempts, notify)

        monkeypatch.setattr("brevo_events.delivery.pipeline.record", sometimes)
        monkeypatch.setattr("brevo_events.delivery.pipeline.RESCUE_PAUSE", 0.01)
        track_for("ada@example.com")

        with pytest.raises(OperationalError):
            deliver()

        assert OutboxEvent.objects.get().status == Status.SENT
        assert len(fake_brevo.requests) == 1

    def test_keeps_leases_when_other_events_cannot_be_put_in_order(self, fake_brevo, monkeypatch, caplog):
        track_for("ada@example.com", "ada@example.com", "bob@example.com")
        failing = iter([True])

        def sometimes(rows):
            if next(failing, False):
                raise OperationalError("gone")
            return end_obsolete(rows)

        end_obsolete = claims.end_obsolete
        monkeypatch.setattr(claims, "end_obsolete", sometimes)

        assert deliver() == {Status.SENT: 3}
        assert "could not be put in order" in caplog.text

    def test_keeps_leases_when_the_cancelled_events_cannot_be_announced(self, fake_brevo, monkeypatch, caplog):
        track("cart_updated", "ada@example.com", expires=0.01)
        bob = track_for("bob@example.com")
        time.sleep(0.1)

        def fail(pks, notify):
            raise OperationalError("gone")

        monkeypatch.setattr(claims, "announce_cancelled", fail)

        assert claim(10) == bob
        assert "could not be put in order" in caplog.text

    def test_goes_on_hold_and_says_so_after_the_commit(self, fake_brevo, logged):
        fake_brevo.always(Reply.error(401, "unauthorized"))
        track_for("ada@example.com")

        deliver()

        assert logged == [("Delivery is on hold: Brevo does not accept the key (401).", False)]

    def test_says_after_the_commit_that_an_answer_came_too_late(self, logged):
        (event,) = track_for("ada@example.com")
        late = claim(1)[0]
        end_lease(event)
        claim(1)

        record([answered(late)])

        ((message, is_in_transaction),) = logged
        assert "lease had run out" in message
        assert not is_in_transaction


class IsolationTests:
    @pytest.fixture
    def _serializable(self):
        connection = connections["default"]
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        word = "CHARACTERISTICS AS TRANSACTION" if connection.vendor == "postgresql" else "TRANSACTION"
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {word} ISOLATION LEVEL SERIALIZABLE")
        transactions._is_read_committed.clear()
        yield
        transactions._is_read_committed.clear()
        connection.close()

    @pytest.mark.usefixtures("_serializable")
    def test_of_a_worker_is_read_committed_whatever_the_projects_is(self):
        track_for("ada@example.com", "ada@example.com")

        with CaptureQueriesContext(connections["default"]) as queries:
            record([answered(event) for event in claim(10)])

        made = [query["sql"] for query in queries]
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 1
        assert made.count("BEGIN") == made.count(transactions.SET_READ_COMMITTED) == 4


class SendersTests:
    def attempt(self, leased_for=60.0, name="a"):
        event = OutboxEvent.of(Event(name, "ada@example.com"))
        return Attempt(event, Gate(pk=1), boottime() + leased_for)

    def senders(self, **options):
        return Senders(**{"concurrency": 2, "deadline": 5, **options})

    def transport(self, send):
        transport = Transport()
        transport.send = send
        return transport

    def collect(self, senders, count):
        collected, began = [], time.monotonic()
        while len(collected) < count and time.monotonic() - began < 10:
            collected += senders.collect(0.05)
        return collected

    def test_does_not_start_what_the_lease_would_not_cover(self):
        senders = self.senders()
        attempt = self.attempt(leased_for=5.5)
        senders.start(attempt, self.transport(lambda *request: pytest.fail("sent")))

        assert self.collect(senders, 1) == [attempt]
        assert attempt.answer is None
        senders.stop()

    def test_turns_an_error_of_a_transport_into_an_answer_without_its_text(self, caplog):
        def fail(body):
            raise ValueError(KEY)

        senders = self.senders()
        senders.start(self.attempt(), self.transport(fail))

        (attempt,) = self.collect(senders, 1)
        senders.stop()

        assert (attempt.answer.status, attempt.answer.error) == (None, "transport")
        assert KEY not in caplog.text + repr(attempt.answer)

    @pytest.mark.parametrize("returned", [None, 204, Answer(40_001), Answer(0)])
    def test_takes_what_is_no_answer_for_a_failure_of_the_transport(self, returned):
        senders = self.senders()
        senders.start(self.attempt(), self.transport(lambda *request: returned))

        (attempt,) = self.collect(senders, 1)
        senders.stop()

        assert (attempt.answer.status, attempt.answer.error) == (None, "transport")

    def test_counts_the_time_in_which_the_machine_was_suspended(self, monkeypatch):
        assert getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) == clock._CLOCK
        senders, attempt = self.senders(), self.attempt(leased_for=60)
        monkeypatch.setattr("brevo_events.delivery.senders.boottime", lambda: clock.boottime() + 120)

        senders.start(attempt, self.transport(lambda *request: pytest.fail("sent")))

        assert self.collect(senders, 1) == [attempt]
        assert attempt.answer is None
        senders.stop()

    def test_gives_up_a_thread_that_stays_away_and_goes_on_with_another(self, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.senders.GRACE", 0.1)
        release = threading.Event()

        def send(body, call):
            if '"stuck"' in body:
                release.wait(10)
            return Answer(204)

        senders = self.senders(concurrency=1, deadline=0.2)
        stuck, other = self.attempt(name="stuck"), self.attempt()
        senders.start(stuck, self.transport(send))
        senders.start(other, self.transport(send))

        collected = self.collect(senders, 2)
        release.set()

        assert collected == [stuck, other]
        assert (stuck.answer.error, other.answer.status) == ("timeout", 204)
        assert senders.collect(0.1) == []
        assert len(senders) == 0
        senders.stop()

    def test_an_answer_at_the_very_deadline_is_taken_or_given_up_but_not_both(self, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.senders.GRACE", 0)
        senders = self.senders(deadline=0.05)

        class JustAnswered(Attempt):
            @property
            def is_abandoned(self):
                if threading.current_thread().name == "brevo-events-sender" and not owner.ident:
                    owner.start()
                    owner.join(0.3)
                    return False
                return self.is_overdue

            @is_abandoned.setter
            def is_abandoned(self, value):
                self.is_overdue = value

        attempt = self.attempt()
        attempt = JustAnswered(attempt.event, attempt.gate, attempt.leased_until)
        owner = threading.Thread(target=lambda: senders.resume(senders.collect(0)))
        senders.start(attempt, self.transport(lambda body, call: time.sleep(0.1) or Answer(401)))
        wait_until(lambda: owner.ident)
        owner.join()
        senders.resume(senders.collect(1))
        senders.stop()

        assert not senders.is_held
        assert attempt.answer.status == 401


class ClockTests:
    def test_due_times_are_in_utc_whatever_the_servers_time_zone(self):
        (event,) = track_for("ada@example.com")

        assert abs(fresh(event).created_at - event.created_at) < timedelta(seconds=1)
        assert abs(time.time() - event.created_at.timestamp()) < 60
        assert abs(time.time() - fresh(event).due_at.timestamp()) < 60

    def test_leases_and_backoffs_too(self):
        track_for("ada@example.com")
        claimed = claim(1)[0]
        leased_until = fresh(claimed).due_at.timestamp()
        record([answered(claimed, 500)])

        assert leased_until - time.time() == pytest.approx(lease_seconds(), abs=30)
        assert fresh(claimed).due_at.timestamp() - time.time() == pytest.approx(30, abs=15)

    def test_moves_within_a_transaction(self):
        with transaction.atomic():
            track("a", "a@example.com")
            time.sleep(0.02)
            track("b", "b@example.com")

        first, second = OutboxEvent.objects.order_by("pk")
        assert second.created_at > first.created_at


class InvariantTests:
    def test_hold_after_a_mixed_delivery(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 0, "MAX_ATTEMPTS": 3}
        fake_brevo.when(lambda body: body["event"] == "poison", Reply.error(500, "x"), repeat=True)
        fake_brevo.when(lambda body: body["event"] == "bad", Reply.error(400, "x"), repeat=True)
        names = ["fine", "bad", "fine"]
        track_many([Event(names[n % 3], f"{n % 5}@example.com") for n in range(60)])
        track_many([Event("poison", "0@example.com"), Event("fine", "0@example.com")])

        deliver()

        assert not OutboxEvent.objects.unfinished().exists()
        assert not OutboxEvent.objects.exclude(due_at=None).exists()
        assert not OutboxEvent.objects.exclude(lease_token=None).exists()
        assert not OutboxEvent.objects.filter(parked=True).exists()
        assert not OutboxEvent.objects.filter(name="poison").exclude(attempts=3).exists()
        assert OutboxEvent.objects.filter(status=Status.SENT, attempts=F("attempts")).count() == 41

    def test_hold_among_several_workers_where_a_missed_parking_would_last_an_hour(self, fake_brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.states.PARKED_FOR", 3600)
        events = [Event("a", f"{n % 20}@example.com", object_id=str(n)) for n in range(600)]
        track_many(events)
        errors = []

        def work():
            began = time.monotonic()
            try:
                while OutboxEvent.objects.unfinished().exists() and time.monotonic() - began < 40:
                    deliver()
                    time.sleep(0.1)
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 600
        assert len(fake_brevo.requests) == 600
        for contact in range(20):
            line = [
                r.json["eventdata"]["id"] for r in fake_brevo.requests if r.json["email"] == f"{contact}@example.com"
            ]
            assert line == sorted(line, key=int)
