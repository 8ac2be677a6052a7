from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from django.db import connections

from brevo_events import Event, track, track_many
from brevo_events.choices import GateReason, Status
from brevo_events.clock import in_seconds
from brevo_events.engines import queued
from brevo_events.engines.complaints import Complaints
from brevo_events.engines.publisher import INTERVAL, Publisher
from brevo_events.engines.queued import QueuedEngine, longest_pass, run_pass, run_prune
from brevo_events.models import Gate, OutboxEvent
from brevo_events.testing import Reply
from brevo_events.worker import Stop
from tests.rows import held_elsewhere
from tests.waiting import wait_until


class Queue(QueuedEngine):
    """An engine whose tasks are only counted."""

    def __init__(self):
        super().__init__()
        self.queued_at = []
        self.fails = 0

    def enqueue(self):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("broker away\nwith more")
        self.queued_at.append(time.monotonic())


@pytest.fixture
def engine(monkeypatch):
    """The engine as it is in production: under test it queues nothing."""
    monkeypatch.setattr("brevo_events.engines.background.is_testing", lambda: False)
    engine = Queue()
    yield engine
    engine.finish()


@pytest.fixture
def nudges(monkeypatch):
    """The nudges that passes make."""
    nudges = []
    monkeypatch.setattr(queued, "engines", SimpleNamespace(nudge=lambda: nudges.append(True)))
    return nudges


def all_sent(count):
    return lambda: OutboxEvent.objects.filter(status=Status.SENT).count() == count


class NudgeTests:
    def test_queues_a_task_at_once(self, engine):
        began = time.monotonic()

        engine.nudge()

        wait_until(lambda: engine.queued_at)
        assert engine.queued_at[0] - began < 0.5

    def test_queues_few_tasks_for_a_burst_and_the_last_of_them_after_its_end(self, engine):
        began = time.monotonic()
        for _ in range(500):
            engine.nudge()
            last = time.monotonic()
            time.sleep(0.002)

        wait_until(lambda: engine.queued_at[-1] > last)
        time.sleep(0.3)
        assert engine.queued_at[-1] - last < 0.8
        assert len(engine.queued_at) <= (last - began) / INTERVAL + 2

    def test_queues_nothing_more_once_all_nudges_are_served(self, engine):
        for number in (1, 2):
            engine.nudge()
            wait_until(lambda wanted=number: len(engine.queued_at) == wanted)

        time.sleep(0.5)
        assert len(engine.queued_at) == 2

    def test_does_not_wait_for_a_broker_that_does_not_answer(self, engine, monkeypatch):
        release = threading.Event()
        monkeypatch.setattr(Queue, "enqueue", lambda engine: release.wait(10))
        began = time.monotonic()

        for _ in range(100):
            engine.nudge()

        assert time.monotonic() - began < 0.5
        release.set()

    def test_tries_again_after_a_failure_and_logs_it_once(self, engine, monkeypatch, caplog):
        monkeypatch.setattr("brevo_events.engines.publisher.RETRY", 0.05)
        engine.fails = 5

        engine.nudge()

        wait_until(lambda: engine.queued_at)
        (logged,) = [entry.getMessage() for entry in caplog.records]
        assert logged == "No task could be queued. Events are kept, and sent later. ConnectionError: broker away"
        assert len(engine.queued_at) == 1

    def test_queues_nothing_under_test(self):
        engine = Queue()

        engine.start()
        engine.nudge()

        assert engine._thread is None
        time.sleep(0.05)
        assert engine.queued_at == []

    def test_keeps_no_database_connection_while_it_is_idle(self, engine, monkeypatch):
        closed = []
        monkeypatch.setattr("brevo_events.engines.publisher.KEEP_CONNECTION", 0.05)
        monkeypatch.setattr(connections, "close_all", lambda: closed.append(threading.current_thread()))

        engine.nudge()

        wait_until(lambda: closed)
        assert isinstance(closed[0], Publisher)


class EndTests:
    def test_queues_the_last_task_before_the_process_ends(self, engine):
        engine.nudge()
        wait_until(lambda: engine.queued_at)
        engine.nudge()

        engine.finish()

        assert len(engine.queued_at) == 2

    def test_waits_only_once_for_a_broker_that_does_not_answer(self, engine, monkeypatch):
        release = threading.Event()
        monkeypatch.setattr("brevo_events.engines.publisher.PATIENCE", 0.3)
        monkeypatch.setattr(Queue, "enqueue", lambda engine: release.wait(10))
        engine.nudge()
        began = time.monotonic()

        engine.finish()
        engine.finish()

        assert 0.2 < time.monotonic() - began < 0.59
        release.set()

    def test_begins_anew_after_its_end(self, engine):
        engine.nudge()
        engine.finish()
        count = len(engine.queued_at)

        engine.nudge()

        wait_until(lambda: len(engine.queued_at) == count + 1)

    def test_begins_anew_after_a_fork(self, engine):
        engine.start()
        engine._thread.finish()
        engine._lock.acquire()

        engine._forget()
        engine.nudge()

        wait_until(lambda: engine.queued_at)


@pytest.mark.django_db(transaction=True)
class PassTests:
    def test_sends_all_that_is_due(self, fake_brevo, nudges):
        track_many([Event("a", f"{n}@example.com") for n in range(3)])

        run_pass()

        assert all_sent(3)()
        assert nudges == []

    def test_queues_the_next_one_if_events_are_due_when_its_time_is_over(
        self, fake_brevo, settings, monkeypatch, nudges
    ):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1}
        monkeypatch.setattr(queued, "PASS_SECONDS", 0.5)
        fake_brevo.always(Reply(204, delay=0.2))
        track_many([Event("a", f"{n}@example.com") for n in range(10)])
        began = time.monotonic()

        run_pass()

        assert time.monotonic() - began < 5
        assert nudges == [True]
        assert not OutboxEvent.objects.filter(status=Status.SENDING).exists()
        assert 1 <= OutboxEvent.objects.filter(status=Status.SENT).count() < 10

    def test_queues_the_next_one_before_it_waits_for_a_slow_answer(self, fake_brevo, settings, monkeypatch):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        monkeypatch.setattr(queued, "PASS_SECONDS", 0.3)
        in_flight = []
        sending = OutboxEvent.objects.filter(status=Status.SENDING).values_list("name", flat=True)
        monkeypatch.setattr(queued, "engines", SimpleNamespace(nudge=lambda: in_flight.append(list(sending.all()))))
        fake_brevo.when(lambda body: body["event"] == "slow", Reply(204, delay=2))
        fake_brevo.always(Reply(204, delay=0.1))
        track_many([Event("slow", "slow@example.com"), *(Event("a", f"{n}@example.com") for n in range(50))])

        run_pass()

        (names,) = in_flight
        assert "slow" in names

    def test_waits_for_the_end_of_a_brief_hold(self, fake_brevo, nudges):
        fake_brevo.next(Reply.too_many(retry_after=1))
        track_many([Event("a", f"{n}@example.com") for n in range(20)])

        run_pass()

        assert all_sent(20)()

    def test_waits_for_no_row_that_a_user_keeps_locked(self, fake_brevo, monkeypatch, nudges):
        event = track("a", "a@example.com")
        OutboxEvent.objects.update(due_at=in_seconds(-10))
        monkeypatch.setattr(Stop, "wait", lambda _stop, seconds: pytest.fail(f"It waits for {seconds} s."))

        with held_elsewhere(event):
            run_pass()

        assert (nudges, fake_brevo.requests) == ([], [])

    def test_queues_none_if_nothing_is_due_when_its_time_is_over(self, fake_brevo, monkeypatch, nudges):
        monkeypatch.setattr(queued, "PASS_SECONDS", 0.1)
        fake_brevo.always(Reply(204, delay=0.3))
        track("a", "a@example.com")

        run_pass()

        assert all_sent(1)()
        assert nudges == []

    @pytest.mark.parametrize(
        "hold", [lambda gate: gate.close(GateReason.OUTAGE, 503, 60), lambda gate: gate.pause()], ids=["hold", "pause"]
    )
    def test_sends_and_queues_nothing_while_delivery_is_on_hold(self, fake_brevo, monkeypatch, nudges, hold):
        monkeypatch.setattr(queued, "PASS_SECONDS", 0.0)
        track("a", "a@example.com")
        hold(Gate.load())
        began = time.monotonic()

        run_pass()

        assert time.monotonic() - began < 1
        assert (nudges, fake_brevo.requests) == ([], [])

    def test_probes_once_a_cool_down_is_over(self, fake_brevo, nudges):
        track("a", "a@example.com")
        Gate.load().close(GateReason.OUTAGE, 503, 60)
        Gate.load().try_now()

        run_pass()

        assert all_sent(1)()
        assert Gate.load().is_open

    def test_without_a_key_says_so_once_and_keeps_the_events(self, fake_brevo, settings, monkeypatch, nudges, caplog):
        monkeypatch.setattr(queued, "_complaints", Complaints())
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MA_KEY": ""}
        track("a", "a@example.com")

        run_pass()
        run_pass()

        assert caplog.text.count("Nothing was sent. BREVO_EVENTS['MA_KEY'] is not set") == 1
        assert nudges == []
        assert OutboxEvent.objects.due().count() == 1

    def test_takes_no_longer_than_it_says(self, settings):
        settings.BREVO_EVENTS = {"TIMEOUT": 3}

        assert longest_pass() == 10 + 2 * 3 + 8


@pytest.mark.django_db(transaction=True)
class PruneTests:
    @pytest.fixture(autouse=True)
    def _old(self, settings):
        track_many([Event("a", f"{n}@example.com") for n in range(6)])
        settings.BREVO_EVENTS = {"RETENTION_DAYS": 0}

    def test_deletes_what_ended_long_ago(self):
        assert run_prune() is False
        assert not OutboxEvent.objects.exists()

    def test_leaves_the_rest_to_another_task_when_its_time_is_over(self, monkeypatch):
        monkeypatch.setattr("brevo_events.retention.ONE_WRITER_BATCH", 2)
        monkeypatch.setattr("brevo_events.retention.BATCH", 2)
        monkeypatch.setattr(queued, "PRUNE_SECONDS", 0.0)

        assert run_prune() is True
        assert OutboxEvent.objects.count() == 4


class ComplaintsTests:
    def test_are_logged_again_if_they_change_or_last(self, monkeypatch, caplog):
        complaints = Complaints()
        complaints.log("away")
        complaints.log("away")
        complaints.log("refused")
        monkeypatch.setattr("brevo_events.engines.complaints.EVERY", 0.0)
        complaints.log("refused")

        assert [entry.getMessage() for entry in caplog.records] == ["away", "refused", "refused"]

    def test_are_logged_again_after_it_went_well_in_between(self, caplog):
        complaints = Complaints()
        complaints.log("away")
        complaints.forget()
        complaints.log("away")

        assert len(caplog.records) == 2
