from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, reset_queries

from brevo_events import Event, track, track_many
from brevo_events.choices import Status
from brevo_events.delivery import senders
from brevo_events.delivery.pipeline import Pipeline
from brevo_events.models import OutboxEvent
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests import worker as process
from tests.deliveries import fail_at_first
from tests.rows import held_elsewhere
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def all_sent(count):
    return lambda: OutboxEvent.objects.filter(status=Status.SENT).count() == count


def sent(fake_brevo):
    return [request.json["event"] for request in fake_brevo.requests]


def counted(monkeypatch, method):
    """Return a list that grows by one with each call of a worker's method."""
    calls, real = [], getattr(Worker, method)

    def counting(worker):
        calls.append(method)
        return real(worker)

    monkeypatch.setattr(Worker, method, counting)
    return calls


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
        given_back = OutboxEvent.objects.due().filter(status=Status.PENDING, lease_token=None)
        wait_until(lambda: given_back.count() == 9, timeout=0.5)
        assert thread.is_alive()  # the request in flight has no answer yet
        thread.join(10)

        assert len(fake_brevo.requests) == 1
        assert OutboxEvent.objects.filter(status=Status.SENT).count() == 1

    def test_outlives_a_database_that_goes_away(self, fake_brevo, monkeypatch, caplog):
        fail_at_first(monkeypatch, "claim", 2)
        track("a", "a@example.com")

        Worker().run(max_runtime=2.5)

        assert OutboxEvent.objects.get().status == Status.SENT
        assert caplog.text.count("Retrying the database after OperationalError: gone") == 1

    def test_records_later_what_came_back_while_the_database_was_away(self, fake_brevo, monkeypatch):
        fail_at_first(monkeypatch, "record", 2)
        track("a", "a@example.com")

        Worker().run(max_runtime=2)

        assert OutboxEvent.objects.get().status == Status.SENT
        assert len(fake_brevo.requests) == 1

    def test_outlives_a_database_that_goes_away_at_its_end(self, fake_brevo, monkeypatch):
        track("a", "a@example.com")
        worker = Worker()
        worker._pipeline._feed()
        fail_at_first(monkeypatch, "record", 2)

        worker.finish()

        assert OutboxEvent.objects.get().status == Status.SENT
        assert len(fake_brevo.requests) == 1

    def test_keeps_no_queries_under_debug(self, fake_brevo, settings):
        settings.DEBUG = True
        worker = Worker()

        for _ in range(50):
            worker.work()

        worker.finish()
        assert len(connection.queries) < 20

    def test_idle_asks_with_one_query_each_time(self, fake_brevo, django_assert_num_queries):
        worker = Worker()
        worker.work()  # reports that it lives

        for _ in range(3):
            reset_queries()
            with django_assert_num_queries(1):
                worker.work()

        worker.finish()

    def test_sends_at_its_next_look_what_came_after_one_that_found_nothing(self, fake_brevo):
        worker = Worker()
        worker.work()
        track("a", "a@example.com")

        worker.drain()

        worker.finish()
        assert OutboxEvent.objects.get().status == Status.SENT

    def test_looks_every_poll_seconds_while_nothing_is_due(self, fake_brevo, settings, monkeypatch):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "POLL_SECONDS": 0.05}
        looks = counted(monkeypatch, "work")

        Worker().run(max_runtime=0.5)

        assert 5 <= len(looks) <= 11

    def test_reads_a_wrong_setting_again_after_a_pause(self, fake_brevo, settings, monkeypatch):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "POLL_SECONDS": 0.05, "MA_KEY": ""}
        track("a", "a@example.com")
        looks = counted(monkeypatch, "work")

        Worker().run(max_runtime=0.5)

        assert len(looks) == 1


class StopTests:
    def test_a_signal_may_come_at_any_moment_of_a_wait(self):
        worker = Worker()

        def handle(frame, event, argument):
            # As a handler does: in the very thread, between any two lines.
            sys.settrace(None)
            worker.stop()
            sys.settrace(handle)
            return handle

        def wait():
            sys.settrace(handle)
            worker.stopping.wait(0.01)
            sys.settrace(None)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        waiting.join(5)

        assert not waiting.is_alive()
        assert worker.stopping.is_set()


class SinglePassTests:
    @pytest.mark.parametrize("step", ["claim", "record"])
    def test_outlives_a_database_that_goes_away_and_sends_nothing_twice(self, fake_brevo, monkeypatch, step):
        track_many([Event("a", f"{n}@example.com") for n in range(20)])
        fail_at_first(monkeypatch, step, 2)
        worker = Worker()

        worker.run_once()

        assert worker.delivered == {Status.SENT: 20}
        assert len(fake_brevo.requests) == 20

    def test_gives_up_with_the_error_of_a_database_that_stays_away(self, fake_brevo, monkeypatch, caplog):
        track("a", "a@example.com")
        fail_at_first(monkeypatch, "claim", 100)

        with pytest.raises(OperationalError, match="gone"):
            Worker().run_once()

        assert caplog.text.count("Retrying the database after OperationalError: gone") == 1

    def test_waits_for_an_event_that_is_due_in_a_moment(self, fake_brevo):
        track("now", "a@example.com")
        track("soon", "a@example.com", delay=0.15)  # after the other, even if this machine is busy

        Worker().run_once()

        assert sent(fake_brevo) == ["now", "soon"]

    def test_waits_for_an_event_that_a_locked_row_has_postponed(self, fake_brevo):
        first, second = track("first", "a@example.com"), track("second", "a@example.com")
        was_due_at = OutboxEvent.objects.get(pk=second.pk).due_at
        single_pass = threading.Thread(target=lambda: (Worker().run_once(), connections.close_all()))

        with held_elsewhere(first):
            single_pass.start()
            wait_until(lambda: OutboxEvent.objects.get(pk=second.pk).due_at > was_due_at)
        single_pass.join(10)

        assert sent(fake_brevo) == ["first", "second"]

    def test_ends_although_a_user_keeps_a_row_locked(self, fake_brevo):
        first = track("first", "a@example.com")
        track("second", "a@example.com")

        with held_elsewhere(first):
            Worker().run_once()

        assert sent(fake_brevo) == []

    def test_ends_at_its_limit_although_more_is_due(self, fake_brevo, monkeypatch):
        track_many([Event("a", f"{n}@example.com") for n in range(3)])
        worker = Worker(limit=2)
        monkeypatch.setattr(
            worker.stopping, "wait", lambda _seconds: pytest.fail("It waits for an event that it may not send.")
        )

        worker.run_once()

        assert len(fake_brevo.requests) == 2


class SendersIdleTests:
    def test_end_their_threads_and_start_them_again(self, fake_brevo, monkeypatch):
        monkeypatch.setattr(senders, "IDLE_LIMIT", 0.1)
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
