from __future__ import annotations

import sys
import threading

import pytest

from brevo_events import track_many
from brevo_events.delivery.observers import Observers
from brevo_events.engines.runner import Runner
from brevo_events.events import Event
from brevo_events.models import OutboxEvent, Status
from brevo_events.signals import event_sent
from tests.waiting import wait_until


@pytest.fixture
def release():
    """Set to let the observers of a test go on; set in any case at its end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.django_db(transaction=True)
class SlowObserverTests:
    @pytest.fixture
    def told(self, release):
        """What a slow observer was told, in order: it waits at the first event."""
        told = []

        def slow(event, **kwargs):
            told.append(event.pk)
            release.wait(20)

        event_sent.connect(slow, weak=False)
        yield told
        event_sent.disconnect(slow)

    def test_does_not_keep_the_owner_of_the_leases_from_recording(self, fake_brevo, settings, told, release):
        settings.BREVO_EVENTS = {**settings.BREVO_EVENTS, "CONCURRENCY": 2}
        sent = OutboxEvent.objects.filter(status=Status.SENT)
        runner = Runner()
        track_many([Event("a", f"{number}@example.com") for number in range(50)])

        runner.start()
        try:
            wait_until(lambda: sent.count() == 50)
            assert len(told) == 1
            release.set()
        finally:
            release.set()
            runner.finish()

        assert len(fake_brevo.requests) == 50
        assert sorted(told) == list(OutboxEvent.objects.order_by("pk").values_list("pk", flat=True))


class ObserversTests:
    def test_are_told_one_after_the_other(self, release):
        observers, told = Observers(), []

        observers(lambda: (release.wait(20), told.append(1)))
        observers(lambda: told.append(2))
        assert told == []
        release.set()
        observers.finish()

        assert told == [1, 2]

    def test_hear_the_next_notice_though_one_fails(self, caplog):
        observers, told = Observers(), []

        observers(lambda: 1 / 0)
        observers(lambda: told.append(2))
        observers.finish()

        assert told == [2]
        assert "An observer could not be notified." in caplog.text

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_hear_the_next_notice_though_one_ends_their_thread(self):
        observers, told = Observers(), []

        observers(sys.exit)
        observers.finish()
        wait_until(lambda: not observers._thread.is_alive())
        observers(lambda: told.append(2))
        observers.finish()

        assert told == [2]

    def test_do_not_keep_a_process_from_ending(self, release, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.observers.PATIENCE", 0.1)
        observers, told = Observers(), []

        observers(lambda: (release.wait(20), told.append(1)))
        observers.finish()

        assert told == []

    def test_have_no_thread_while_there_is_nothing_to_tell(self, monkeypatch):
        monkeypatch.setattr("brevo_events.delivery.observers.LINGER", 0.1)
        observers, threads = Observers(), []

        observers(lambda: threads.append(threading.current_thread()))
        observers.finish()
        wait_until(lambda: not threads[0].is_alive())
        observers(lambda: threads.append(threading.current_thread()))
        observers.finish()

        assert len(threads) == 2
        assert threads[0] is not threads[1]
