from __future__ import annotations

import os
import socket

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, connection

from brevo_events import heartbeats, track
from brevo_events.clock import in_seconds
from brevo_events.health import state, take_pulse
from brevo_events.heartbeats import Heart, is_alive, processes
from brevo_events.models import Heartbeat, OutboxEvent, Status
from brevo_events.testing import Reply
from brevo_events.worker import Worker
from tests.browsing import LIST, root, text_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch):
    """A clock to turn by hand: a list of one number."""
    now = [100.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    return now


def statements_of(act):
    """Return the verbs of what is asked of the database; a worker forgets its own queries."""
    asked = []

    def listen(execute, sql, *arguments):
        asked.append(sql.split()[0])
        return execute(sql, *arguments)

    with connection.execute_wrapper(listen):
        act()
    return asked


class HeartTests:
    def test_says_which_process_lives_since_when_and_how_busy_it_is(self):
        Heart("worker").beat(3)

        row = Heartbeat.objects.get()
        assert (row.host, row.pid, row.engine, row.in_flight) == (socket.gethostname(), os.getpid(), "worker", 3)
        assert row.version == "0.1.0"
        assert is_alive(row)

    def test_beats_at_most_every_ten_seconds(self, clock):
        heart = Heart("worker")

        assert statements_of(lambda: heart.beat(0))[-2:] == ["DELETE", "INSERT"]
        clock[0] += 9.9
        assert statements_of(lambda: heart.beat(5)) == []
        clock[0] += 0.2
        assert statements_of(lambda: heart.beat(7)) == ["UPDATE"]
        assert Heartbeat.objects.get().in_flight == 7

    def test_waits_before_its_first_beat_if_told_so(self, clock):
        heart = Heart("single pass")
        heart.wait()

        assert statements_of(lambda: heart.beat(0)) == []
        clock[0] += 10.1
        assert statements_of(lambda: heart.beat(0))[-2:] == ["DELETE", "INSERT"]

    def test_takes_its_row_back_at_the_end(self):
        heart = Heart("worker")
        heart.beat(0)

        heart.stop()

        assert not Heartbeat.objects.exists()
        assert statements_of(heart.stop) == []

    def test_writes_a_new_row_if_its_own_is_gone(self, clock):
        heart = Heart("worker")
        heart.beat(0)
        Heartbeat.objects.all().delete()
        clock[0] += 11

        heart.beat(0)

        assert Heartbeat.objects.count() == 1

    def test_deletes_what_died_long_ago(self):
        for ago in (3700, 3500):
            Heartbeat.objects.create(host="h", pid=ago, engine="worker", seen_at=in_seconds(-ago))

        Heart("worker").beat(0)

        assert [row.pid for row in processes()] == [os.getpid(), 3500]
        assert not is_alive(processes()[1])

    def test_does_not_mind_a_database_that_refuses_it(self, monkeypatch, caplog):
        def refuse(*arguments, **options):
            raise DatabaseError("no")

        monkeypatch.setattr(heartbeats, "prune", refuse)

        Heart("worker").beat(0)

        assert "could not write its heartbeat: DatabaseError" in caplog.text


class WorkerTests:
    def test_has_a_row_while_it_runs_and_none_afterwards(self, fake_brevo, in_thread):
        fake_brevo.always(Reply(204, delay=0.5))
        worker = Worker()
        thread = in_thread(worker.run)
        wait_until(Heartbeat.objects.exists)
        track("a", "a@example.com")
        wait_until(lambda: OutboxEvent.objects.filter(status=Status.SENT).exists())

        worker.stop()
        thread.join(10)

        assert not Heartbeat.objects.exists()

    def test_that_polls_an_idle_outbox_writes_once_in_ten_seconds(self, fake_brevo):
        worker = Worker()
        worker.work()

        assert set(statements_of(lambda: [worker.work() for _ in range(20)])) == {"SELECT"}
        worker.finish()

    def test_delivers_though_its_row_cannot_be_written(self, fake_brevo, monkeypatch):
        def refuse(*arguments, **options):
            raise DatabaseError("no")

        monkeypatch.setattr(heartbeats, "prune", refuse)
        track("a", "a@example.com")

        Worker().run(max_runtime=0.5)

        assert OutboxEvent.objects.get().status == Status.SENT

    def test_of_a_short_pass_writes_nothing(self, fake_brevo):
        track("a", "a@example.com")

        made = statements_of(lambda: call_command("send_brevo_events", verbosity=0))

        assert OutboxEvent.objects.get().status == Status.SENT
        assert made.count("INSERT") == 1  # the attempt


class SeenTests:
    @pytest.fixture(autouse=True)
    def _late(self, settings):
        settings.BREVO_EVENTS = {"ENGINE": "worker"}
        cache.clear()
        track("a", "a@example.com")
        OutboxEvent.objects.update(due_at=in_seconds(-300))

    def test_if_nothing_is_sending_the_state_says_when_a_worker_last_reported(self):
        assert state(take_pulse()).facts == ("No worker is running.",)
        Heartbeat.objects.create(host="h", pid=1, engine="worker", seen_at=in_seconds(-150))

        found = state(take_pulse())

        assert found.name == "stalled"
        assert found.facts[0].startswith("A worker last reported at ")
        assert found.facts[0].endswith(", 2 min 30 s ago.")
        assert found.overdue_seconds == pytest.approx(300, abs=20)
        assert found.worker_seen_at == Heartbeat.objects.get().seen_at

    def test_the_overview_shows_the_processes(self):
        Heartbeat.objects.create(host="web-1", pid=4127, engine="thread", in_flight=2)
        Heartbeat.objects.create(host="web-2", pid=3981, engine="worker", seen_at=in_seconds(-150))

        page = text_of(root().get(f"{LIST}overview/"))

        assert "web-1 · 4127" in page
        assert "running, " in page
        assert "gone, " in page
