from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, reset_queries

from brevo_events import Event, delivery, track, track_many
from brevo_events.choices import GateReason, Status
from brevo_events.delivery import attempts
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.engines.thread import ThreadEngine, threads_are_off
from brevo_events.models import Gate, OutboxEvent
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests import worker as process

pytestmark = pytest.mark.django_db(transaction=True)


def wait_until(condition, timeout=20.0):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen in time"
        time.sleep(0.05)


def all_sent(count):
    return lambda: OutboxEvent.objects.filter(status=Status.SENT).count() == count


@pytest.fixture
def in_thread():
    """Run a function in a thread of its own, and close its connections."""
    threads = []

    def start(function):
        def run():
            try:
                function()
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(20)


class WorkerTests:
    def test_delivers_what_comes_until_it_is_stopped(self, fake_brevo, in_thread):
        worker = Worker()
        thread = in_thread(worker.run)
        for n in range(3):
            track("a", f"{n}@example.com")
        wait_until(all_sent(3))

        worker.stop()

        thread.join(5)
        assert not thread.is_alive()
        assert worker.delivered == {Status.SENT: 3}

    def test_ends_after_its_runtime(self, fake_brevo):
        began = time.monotonic()

        Worker().run(max_runtime=0.3)

        assert time.monotonic() - began < 2

    def test_gives_back_at_once_what_has_not_begun(self, fake_brevo, settings, in_thread):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1, "TIMEOUT": 5}
        fake_brevo.always(Reply(204, delay=1))
        track_many([Event("a", f"{n}@example.com") for n in range(10)])
        worker = Worker()
        thread = in_thread(worker.run)
        fake_brevo.wait_for(1)

        worker.stop()
        time.sleep(0.5)
        given_back = OutboxEvent.objects.due().filter(status=Status.PENDING, lease_token=None).count()
        thread.join(10)

        assert given_back == 9
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 1

    def test_outlives_a_database_that_goes_away(self, fake_brevo, monkeypatch, caplog):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        failing = iter([True, True])
        claim = delivery.claim

        def sometimes(limit):
            if next(failing, False):
                raise OperationalError("gone")
            return claim(limit)

        monkeypatch.setattr("brevo_events.delivery.pipeline.claim", sometimes)
        track("a", "a@example.com")

        Worker().run(max_runtime=2.5)

        assert OutboxEvent.objects.get().status == Status.SENT
        assert caplog.text.count("The database is asked again, after OperationalError: gone") == 1

    def test_records_later_what_came_back_while_the_database_was_away(self, fake_brevo, monkeypatch):
        monkeypatch.setattr("brevo_events.worker.DATABASE_PAUSE", 0.01)
        failing = iter([True, True])
        record = delivery.record

        def sometimes(unrecorded):
            if next(failing, False):
                raise OperationalError("gone")
            return record(unrecorded)

        monkeypatch.setattr("brevo_events.delivery.pipeline.record", sometimes)
        track("a", "a@example.com")

        Worker().run(max_runtime=2)

        assert OutboxEvent.objects.get().status == Status.SENT
        assert len(fake_brevo.requests) == 1

    def test_keeps_no_queries_under_debug(self, fake_brevo, settings):
        settings.DEBUG = True
        worker = Worker()

        for _ in range(50):
            worker.work()

        worker.finish()
        assert len(connection.queries) < 20

    def test_idle_asks_with_one_query(self, fake_brevo, django_assert_num_queries):
        worker = Worker()
        connection.ensure_connection()
        reset_queries()

        with django_assert_num_queries(1):
            worker.work()

        worker.finish()


class SendersIdleTests:
    def test_end_their_threads_and_start_them_again(self, fake_brevo, monkeypatch):
        monkeypatch.setattr(attempts, "IDLE_LIMIT", 0.1)
        pipeline = Pipeline(concurrency=4)
        for n in range(2):
            track("a", f"{n}@example.com")
            while pipeline.step():
                pass
            wait_until(lambda: pipeline._senders._threads == 0)

        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 2


class CommandTests:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_lets_it_finish_what_is_in_flight(self, fake_brevo, settings, number):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 1, "TIMEOUT": 5}
        fake_brevo.always(Reply(204, delay=0.7))
        track_many([Event("a", f"{n}@example.com") for n in range(5)])
        started = process.start(connection.settings_dict["NAME"], settings.BREVO_EVENTS, "send_brevo_events", "--loop")
        try:
            fake_brevo.wait_for(1, timeout=20)
            os.kill(started.pid, number)
            code = started.wait(15)
        finally:
            started.kill()

        assert code == 0
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 1
        assert OutboxEvent.objects.due().filter(status=Status.PENDING).count() == 4


@pytest.fixture
def engine(fake_brevo):
    engine = ThreadEngine()
    yield engine
    engine._at_exit()
    if engine._thread:
        engine._thread.join(10)


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

        wait_until(lambda: engine._thread is not None)
        assert [thread.name for thread in threading.enumerate()].count("brevo-events") == 1

    def test_wakes_for_what_falls_due(self, engine, fake_brevo, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "RETRY_BACKOFF": 1}
        fake_brevo.next(Reply.error(500, "x"))
        track("a", "a@example.com")

        engine.nudge()

        wait_until(all_sent(1), timeout=8)

    def test_does_not_spin_while_the_gate_is_closed(self, engine):
        Gate.load().close(GateReason.ACCOUNT, 401)
        track("a", "a@example.com")
        worker = Worker()

        assert engine._nap(worker) > 10

        worker.finish()

    def test_does_not_spin_without_a_key(self, engine, settings):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "MA_KEY": ""}
        track("a", "a@example.com")
        worker = Worker()
        worker.drain()

        assert engine._nap(worker) > 10

        worker.finish()

    def test_a_process_that_ends_waits_for_its_own_events(self, engine, fake_brevo):
        fake_brevo.always(Reply(204, delay=0.5))
        track("a", "a@example.com")
        engine.nudge()

        engine._at_exit()

        assert OutboxEvent.objects.get().status == Status.SENT
        assert not engine._thread.is_alive()

    def test_a_process_that_ends_at_once_waits_for_a_thread_that_has_hardly_begun(self, engine, monkeypatch):
        run = engine._run

        def slowly():
            time.sleep(0.5)
            run()

        monkeypatch.setattr(engine, "_run", slowly)
        track("a", "a@example.com")
        engine.nudge()

        engine._at_exit()

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_a_process_that_ends_does_not_wait_for_long(self, engine, fake_brevo, settings, monkeypatch):
        monkeypatch.setattr("brevo_events.engines.thread.EXIT_PATIENCE", 0.2)
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "TIMEOUT": 3}
        fake_brevo.always(Reply.hang(3))
        track("a", "a@example.com")
        engine.nudge()
        fake_brevo.wait_for(1)
        began = time.monotonic()

        engine._at_exit()

        assert time.monotonic() - began < 2.5

    def test_begins_anew_after_a_fork(self, engine):
        engine.start()
        wait_until(lambda: engine._worker is not None)
        engine._worker.stop()
        engine._wake.set()
        engine._thread.join(10)
        engine._lock.acquire()

        engine._forget()

        engine.start()
        assert engine._thread.is_alive()

    def test_is_told_when_uwsgi_has_no_threads(self, monkeypatch):
        class Uwsgi:
            opt = {}

        monkeypatch.setitem(__import__("sys").modules, "uwsgi", Uwsgi)

        assert threads_are_off()

        Uwsgi.opt = {"enable-threads": True}
        assert not threads_are_off()


class ShortCommandTests:
    def test_sends_its_own_events_before_it_ends(self, fake_brevo, settings):
        options = {**settings.BREVO_EVENTS, "ENGINE": "thread"}
        code = "from brevo_events import track; track('a', 'a@example.com')"

        started = process.start(connection.settings_dict["NAME"], options, "shell", "-c", code)

        assert started.wait(30) == 0
        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.get().status == Status.SENT
