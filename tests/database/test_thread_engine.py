from __future__ import annotations

import threading
import time

import pytest
from django.db import connection

from brevo_events import Event, track, track_many
from brevo_events.choices import GateReason, Status
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.engines.runner import Runner, nap
from brevo_events.engines.thread import ThreadEngine
from brevo_events.models import Gate, OutboxEvent
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests import worker as process
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def all_sent(count):
    return lambda: OutboxEvent.objects.filter(status=Status.SENT).count() == count


@pytest.fixture
def engine(fake_brevo, monkeypatch):
    """The engine as in production: under test it starts no thread."""
    monkeypatch.setattr("brevo_events.engines.background.is_testing", lambda: False)
    engine = ThreadEngine()
    yield engine
    engine.finish()
    wait_until(lambda: not delivery_threads())


def delivery_threads():
    return [thread for thread in threading.enumerate() if thread.name == "brevo-events"]


class ThreadEngineTests:
    def test_delivers_after_a_nudge(self, engine):
        track("a", "a@example.com")

        engine.nudge()

        wait_until(all_sent(1))

    def test_sends_at_its_start_what_a_dead_process_left_behind(self, engine):
        track("a", "a@example.com")

        engine.start()

        wait_until(all_sent(1))

    def test_runs_one_thread_whoever_starts_it(self, engine, in_thread):
        for _ in range(8):
            in_thread(engine.start)

        wait_until(delivery_threads)
        assert len(delivery_threads()) == 1

    def test_wakes_for_what_falls_due(self, engine, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 1}
        fake_brevo.next(Reply.error(500, "x"))
        track("a", "a@example.com")

        engine.nudge()

        wait_until(all_sent(1), timeout=8)

    def test_does_not_spin_while_the_gate_is_closed(self, engine):
        Gate.load().close(GateReason.THROTTLED, 429, 60)
        track("a", "a@example.com")
        worker = Worker()

        assert nap(worker) > 10

        worker.finish()

    def test_does_not_spin_without_a_key(self, engine, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MA_KEY": ""}
        track("a", "a@example.com")
        worker = Worker()
        worker.drain()

        assert nap(worker) > 10

        worker.finish()

    def test_finishes_what_is_in_flight(self, engine, fake_brevo):
        fake_brevo.always(Reply(204, delay=0.5))
        track("a", "a@example.com")
        engine.nudge()
        fake_brevo.wait_for(1)

        engine.finish()

        assert OutboxEvent.objects.get().status == Status.SENT
        assert delivery_threads() == []

    def test_gives_back_first_what_has_not_begun(self, engine, fake_brevo, settings, in_thread):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1, "TIMEOUT": 5}
        fake_brevo.always(Reply(204, delay=1.5))
        track_many([Event("a", f"{n}@example.com") for n in range(4)])
        engine.nudge()
        fake_brevo.wait_for(1)

        finishing = in_thread(engine.finish)

        wait_until(lambda: OutboxEvent.objects.due().filter(status=Status.PENDING).count() == 3, timeout=1)
        finishing.join(10)
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 1

    def test_sends_what_was_captured_just_before_its_end(self, engine, monkeypatch):
        deliver = Runner._deliver

        def hardly_begun(runner):
            time.sleep(0.5)
            deliver(runner)

        monkeypatch.setattr(Runner, "_deliver", hardly_begun)
        track("a", "a@example.com")
        engine.nudge()

        engine.finish()

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_waits_at_its_end_for_no_longer_than_an_attempt_may_take(self, engine, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 0.5}
        fake_brevo.always(Reply.hang(5))
        track_many([Event("a", f"{n}@example.com") for n in range(40)])
        engine.nudge()
        fake_brevo.wait_for(1)
        began = time.monotonic()

        engine.finish()

        assert time.monotonic() - began < 3
        assert not OutboxEvent.objects.filter(status=Status.SENDING).exists()

    def test_serves_nudges_that_come_together_in_two_passes(self, engine, monkeypatch):
        passes, drain = [], Worker.drain
        monkeypatch.setattr(Worker, "drain", lambda worker: passes.append(drain(worker)))
        engine.start()
        wait_until(lambda: passes)
        time.sleep(0.1)
        passes.clear()
        for n in range(4):
            track("a", f"{n}@example.com")
        for _ in range(4):
            engine.nudge()

        wait_until(all_sent(4))
        time.sleep(0.1)

        assert len(passes) <= 2

    def test_replaces_a_thread_that_hangs_but_not_for_ever(self, engine, monkeypatch, in_thread):
        release = threading.Event()
        monkeypatch.setattr("brevo_events.worker.lease_seconds", lambda: 0.1)
        monkeypatch.setattr(Pipeline, "step", lambda pipeline: release.wait(20) and False)
        for _ in range(10):
            engine.start()
            time.sleep(0.2)

        assert len(delivery_threads()) == 4
        release.set()
        wait_until(lambda: len(delivery_threads()) == 1)

    def test_a_thread_that_was_replaced_sends_nothing_more(self, engine, fake_brevo, monkeypatch):
        release, step = threading.Event(), Pipeline.step
        monkeypatch.setattr("brevo_events.worker.lease_seconds", lambda: 0.1)
        monkeypatch.setattr(Pipeline, "step", lambda pipeline: release.wait(20) and False)
        engine.start()
        hanging = engine._thread
        hanging.nudge()
        time.sleep(0.2)
        monkeypatch.setattr(Pipeline, "step", step)
        engine.start()
        engine.finish()
        track("a", "a@example.com")

        release.set()
        wait_until(lambda: not hanging.is_alive())

        assert fake_brevo.requests == []

    def test_makes_each_caller_wait_for_its_end(self, engine, fake_brevo, settings, in_thread):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 5}
        fake_brevo.always(Reply(204, delay=1))
        track("a", "a@example.com")
        engine.nudge()
        fake_brevo.wait_for(1)
        in_thread(engine.finish)
        time.sleep(0.2)

        engine.finish()

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_starts_anew_after_its_end(self, engine):
        engine.start()
        engine.finish()
        engine.finish()
        track("a", "a@example.com")

        engine.nudge()

        wait_until(all_sent(1))

    def test_begins_anew_after_a_fork(self, engine):
        engine.start()
        thread = delivery_threads()[0]
        thread.finish()
        engine._lock.acquire()

        engine._forget()

        engine.start()
        assert len(delivery_threads()) == 1
        assert delivery_threads() != [thread]


class ShortCommandTests:
    def test_sends_its_own_events_before_it_ends(self, fake_brevo, settings):
        options = {**settings.BREVO_EVENTS, "ENGINE": "thread"}
        code = "from brevo_events import track; track('a', 'a@example.com')"

        started = process.start(connection.settings_dict["NAME"], options, "shell", "-c", code)

        assert started.wait(30) == 0
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.get().status == Status.SENT

    @pytest.mark.parametrize("first", ["track('b', 'b@example.com')", ""])
    def test_keeps_for_others_what_an_exit_function_captures(self, fake_brevo, settings, first):
        options = {**settings.BREVO_EVENTS, "ENGINE": "thread"}
        fake_brevo.always(Reply(204, delay=0.3))
        code = f"import atexit; from brevo_events import track; atexit.register(track, 'a', 'a@example.com'); {first}"

        started = process.start(connection.settings_dict["NAME"], options, "shell", "-c", code)

        assert started.wait(30) == 0
        assert OutboxEvent.objects.due().get().name == "a"
        assert not OutboxEvent.objects.filter(status=Status.SENDING).exists()
        assert len(fake_brevo.requests) == bool(first)

    def test_waits_for_a_slow_answer_at_its_end(self, fake_brevo, settings):
        options = {**settings.BREVO_EVENTS, "ENGINE": "thread", "TIMEOUT": 10}
        fake_brevo.always(Reply(204, delay=7))
        code = "from brevo_events import track; track('a', 'a@example.com')"

        started = process.start(connection.settings_dict["NAME"], options, "shell", "-c", code)

        assert started.wait(30) == 0
        assert OutboxEvent.objects.get().status == Status.SENT
