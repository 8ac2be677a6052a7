"""What must never happen to a request, a worker or an event, whatever else goes wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.core.signals import request_started
from django.db import DatabaseError, InternalError, connections, transaction

from brevo_events import Event, delivery, engines, track, track_many, transports
from brevo_events.choices import GateReason, Status
from brevo_events.clock import in_seconds
from brevo_events.delivery import claims, deliver
from brevo_events.delivery.pipeline import MAX_AHEAD, Pipeline
from brevo_events.delivery.records import Recorded
from brevo_events.engines.runner import LOOK_AGAIN, nap
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import Gate, OutboxEvent
from brevo_events.signals import event_captured, event_sent
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests.deliveries import claim, record, unanswered
from tests.rows import held_elsewhere
from tests.shop.models import Cart
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_hand")]


@pytest.fixture
def _in_production(monkeypatch, settings):
    settings.DEBUG = False
    for module in ("conf", "tracking"):
        monkeypatch.setattr(f"brevo_events.{module}.is_testing", lambda: False)


class RequestTests:
    def test_an_observer_that_breaks_the_transaction_ends_it_loudly(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}

        def observe(**kwargs):
            raise DatabaseError("the observer's query failed")

        event_captured.connect(observe)
        try:
            with pytest.raises(DatabaseError), transaction.atomic():
                Cart.objects.create()
                track("a", "a@example.com")
        finally:
            event_captured.disconnect(observe)

        assert not Cart.objects.exists()

    def test_an_engine_that_cannot_start_breaks_no_page(self, monkeypatch, caplog):
        class Broken(engines.Engine):
            def start(self):
                raise RuntimeError("can't start new thread")

        monkeypatch.setattr(engines, "current", Broken)

        request_started.send(sender=None)

        assert "events are kept" in caplog.text

    @pytest.mark.usefixtures("_in_production")
    @pytest.mark.parametrize("key", ["ENABLED", "RAISE_ERRORS"])
    def test_a_switch_that_is_wrong_in_production_breaks_no_checkout(self, settings, caplog, key):
        settings.BREVO_EVENTS = {"ENGINE": "worker", key: "ture"}

        assert track("a", "a@example.com") is not None
        assert track("a", "no address") is None
        assert "ture" in caplog.text or key == "RAISE_ERRORS"


class WorkerTests:
    @pytest.mark.parametrize("error", [InternalError("read-only transaction"), DatabaseError("?")])
    def test_outlives_any_error_of_the_database(self, fake_brevo, monkeypatch, error):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        failing = iter([error])

        def sometimes(limit, **options):
            if problem := next(failing, None):
                raise problem
            return delivery.claim(limit, **options)

        monkeypatch.setattr("brevo_events.delivery.pipeline.claim", sometimes)
        track("a", "a@example.com")

        Worker().run(max_runtime=2)

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_outlives_a_key_that_cannot_be_asked_for(self, fake_brevo, settings):
        def ask():
            raise ConnectionError("the vault is away")

        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MA_KEY": ask}
        track("a", "a@example.com")
        worker = Worker()

        assert worker.work() is False

        assert worker.lacks_setting
        worker.finish()

    def test_records_what_came_back_while_the_key_was_missing(self, fake_brevo, settings):
        settings_with_key = settings.BREVO_EVENTS
        fake_brevo.always(Reply(204, delay=0.3))
        for n in range(3):
            track("a", f"{n}@example.com")
        pipeline = Pipeline()
        pipeline.step()
        settings.BREVO_EVENTS = {**settings_with_key, "MA_KEY": ""}
        track("late", "late@example.com")

        began = time.monotonic()
        with pytest.raises(InvalidSetting):
            while time.monotonic() - began < 5:
                pipeline.step()
        pipeline.close()

        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 3

    def test_a_locked_database_is_asked_again_soon(self, fake_brevo, monkeypatch):
        def locked():
            raise DatabaseError("database is locked")

        worker = Worker()
        track("a", "a@example.com")
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        monkeypatch.setattr("brevo_events.engines.runner.Gate.load", locked)
        worker.drain()

        assert nap(worker) == LOOK_AGAIN
        worker.finish()

    def test_a_row_that_somebody_holds_does_not_hold_up_its_end(self, fake_brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.pipeline.ANSWER_PATIENCE", 0.3)
        fake_brevo.always(Reply(204, delay=0.5))
        event = track("a", "a@example.com")
        pipeline = Pipeline()
        pipeline.step()
        with held_elsewhere(event):
            began = time.monotonic()
            pipeline.finish()
            took = time.monotonic() - began

        pipeline.close()
        assert took < 3

    def test_rows_locked_by_a_user_do_not_hold_up_other_contacts(self, fake_brevo, settings, monkeypatch):
        def record_others(attempts, notify):
            held = [attempt for attempt in attempts if attempt.event.name == "held"]
            return delivery.record([attempt for attempt in attempts if attempt not in held], notify)._replace(left=held)

        monkeypatch.setattr("brevo_events.delivery.pipeline.record", record_others)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        track_many([Event("held", f"{n}@example.com") for n in range(MAX_AHEAD + 1)])
        other = track("other", "other@example.com")
        pipeline = Pipeline()

        wait_until(lambda: pipeline.step() and OutboxEvent.objects.get(pk=other.pk).status == Status.SENT)

        pipeline.close()

    def test_patience_begins_when_a_row_is_first_found_locked(self, fake_brevo, settings, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.pipeline.PATIENCE", 0.3)
        monkeypatch.setattr("brevo_events.delivery.pipeline.record", lambda attempts, _notify: Recorded(list(attempts)))
        track("a", "a@example.com")
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONSENT": lambda _event: False}
        pipeline = Pipeline()
        time.sleep(0.4)

        pipeline.step()
        assert not pipeline.is_empty
        assert not pipeline.is_stuck
        wait_until(lambda: pipeline.step() and pipeline.is_stuck)
        pipeline.close()

    def test_an_answer_is_kept_for_longer_than_what_was_not_sent(self, fake_brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.pipeline.PATIENCE", 0)
        fake_brevo.always(Reply(204, delay=0.2))
        event = track("a", "a@example.com")
        pipeline = Pipeline()
        pipeline.step()
        with ThreadPoolExecutor() as pool, held_elsewhere(event):
            finished = pool.submit(lambda: (pipeline.finish(), connections.close_all()))
            time.sleep(1)
            assert not finished.done()
        finished.result()

        pipeline.close()
        assert OutboxEvent.objects.get().status == Status.SENT


class PipelineTests:
    def test_sends_nothing_more_after_it_has_failed(self, fake_brevo, monkeypatch, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        fake_brevo.always(Reply(204, delay=0.1))
        track_many([Event("a", f"{n}@example.com") for n in range(20)])
        monkeypatch.setattr("brevo_events.delivery.pipeline.record", lambda attempts, notify: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            deliver()

        made = len(fake_brevo.requests)
        time.sleep(0.5)
        assert len(fake_brevo.requests) <= made + 2

    def test_sends_by_itself_where_no_thread_can_be_had(self, fake_brevo, monkeypatch):
        track_many([Event("a", f"{n}@example.com") for n in range(5)])
        begin = threading.Thread.start

        def refuse(thread):
            if thread.name.startswith("brevo-events"):
                raise RuntimeError("can't start new thread")
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)

        delivered = deliver()

        assert delivered == {Status.SENT: 5}

    def test_turns_the_gate_together_with_what_it_records(self, fake_brevo, monkeypatch):
        told, close = [], Gate.close
        failing = iter([True])

        def sometimes(gate, *arguments, **options):
            if next(failing, False):
                raise DatabaseError("gone")
            return close(gate, *arguments, **options)

        def tell(event, **kwargs):
            told.append(event.name)

        track("refused", "a@example.com")
        track("fine", "b@example.com")
        refusal = Reply.error(401, "unauthorized", delay=0.3)
        fake_brevo.when(lambda body: body["event"] == "refused", refusal, repeat=True)
        monkeypatch.setattr(Gate, "close", sometimes)
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        event_sent.connect(tell)
        worker = Worker()
        try:
            worker.drain()
        finally:
            event_sent.disconnect(tell)
            worker.finish()

        assert Gate.load().is_closed
        assert told == ["fine"]
        assert len(fake_brevo.requests) == 2

    def test_a_long_line_of_one_contact_holds_up_no_probe(self):
        track_many([Event("a", "line@example.com") for _ in range(2000)])
        first = OutboxEvent.objects.order_by("pk")[0]
        OutboxEvent.objects.filter(pk=first.pk).update(due_at=in_seconds(60))
        track("b", "b@example.com")
        began = time.monotonic()

        claimed = claim(1)

        assert [event.name for event in claimed] == ["b"]
        assert time.monotonic() - began < 3


class OutageMemoryTests:
    def fail(self, *names):
        for name in names:
            track("a", f"{name}@example.com")
        deliver()

    def test_forgets_what_failed_before_the_gate_turned(self, fake_brevo):
        fake_brevo.always(Reply.error(500, "x"))
        self.fail("a", "b", "c")
        assert Gate.load().reason == GateReason.OUTAGE
        fake_brevo.always(None)
        OutboxEvent.objects.update(due_at=in_seconds(-1))
        Gate.load().try_now()
        deliver()
        assert Gate.load().is_open
        fake_brevo.always(Reply.error(500, "x"))

        self.fail("d")

        assert not Gate.load().is_closed

    def test_forgets_what_failed_long_ago(self, fake_brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.breaker.WITHIN", 0.2)
        fake_brevo.always(Reply.error(500, "x"))
        self.fail("a", "b")
        time.sleep(0.3)

        self.fail("c")

        assert not Gate.load().is_closed


class CommandTests:
    def test_ends_at_its_limit_in_a_loop_too(self, fake_brevo):
        track_many([Event("a", f"{n}@example.com") for n in range(5)])

        call_command("send_brevo_events", "--loop", "--limit", "2")

        assert len(fake_brevo.requests) == 2

    def test_a_pass_ends_after_its_runtime(self, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        fake_brevo.always(Reply(204, delay=0.4))
        track_many([Event("a", f"{n}@example.com") for n in range(20)])

        call_command("send_brevo_events", "--max-runtime", "1")

        assert 1 <= len(fake_brevo.requests) < 10
        assert OutboxEvent.objects.due().filter(status=Status.PENDING).count() == 20 - len(fake_brevo.requests)


class BatchTests:
    def test_many_large_events_fit_into_what_a_database_takes(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        text = "x" * 20_000

        track_many([Event("a", f"{n}@example.com", data={"text": text}) for n in range(1000)])

        assert OutboxEvent.objects.count() == 1000


class RecordTests:
    def test_says_nothing_of_an_answer_where_none_came(self, caplog):
        track("a", "a@example.com")
        (event,) = claim(1)
        OutboxEvent.objects.update(lease_token="another")
        record([unanswered(event)])

        assert "The lease of" in caplog.text

    def test_gives_back_to_the_old_place_in_line(self):
        track("a", "a@example.com")
        OutboxEvent.objects.update(available_at=in_seconds(-600), due_at=in_seconds(-5))
        was_due_at = OutboxEvent.objects.get().due_at
        (event,) = claim(1)

        record([unanswered(event)])

        row = OutboxEvent.objects.get()
        assert row.due_at == was_due_at
        assert claim(1) == [row]


class ClosingTests:
    @pytest.mark.parametrize("hold_back", [lambda gate: gate.close("throttled", 429), lambda gate: gate.pause()])
    def test_between_the_look_and_the_claim_lets_nothing_out(self, fake_brevo, monkeypatch, hold_back):
        event = track("a", "a@example.com")

        def hold_back_late(using, *arguments, **options):
            hold_back(Gate.load())
            return mark(using, *arguments, **options)

        mark = claims._mark
        monkeypatch.setattr(claims, "_mark", hold_back_late)
        assert deliver(limit=5) == {}

        assert fake_brevo.requests == []
        assert OutboxEvent.objects.due().get() == event


class TransportTests:
    def test_is_asked_before_anything_is_claimed(self, fake_brevo, monkeypatch):
        def broken():
            raise InvalidSetting("no transport")

        monkeypatch.setattr(transports, "current", broken)
        track("a", "a@example.com")

        with pytest.raises(InvalidSetting):
            deliver()

        assert OutboxEvent.objects.get().status == Status.PENDING
