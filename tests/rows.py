from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from brevo_events.models import Gate, OutboxEvent


def held_elsewhere(*events):
    """Lock the rows of events in another transaction inside it; skip the test if the database has no row locks."""
    pks = [event.pk for event in events]
    return _held_elsewhere(lambda: OutboxEvent.objects.filter(pk__in=pks).update(reason=""))


def gate_held_elsewhere():
    """Lock the gate in another transaction inside it, as one that pauses delivery does; skip likewise."""
    Gate.load().resume()  # writes the row if there is none yet
    return _held_elsewhere(Gate.load().resume)


@contextmanager
def _held_elsewhere(lock):
    if not connection.features.has_select_for_update:
        pytest.skip("SQLite has no row locks")
    holding, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            lock()
            holding.set()
            done.wait(30)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()
