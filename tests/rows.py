from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from brevo_events.models import OutboxEvent


@contextmanager
def held_elsewhere(*events):
    """Lock the rows of events in another transaction inside it; skip the test if the database has no row locks."""
    if not connection.features.has_select_for_update:
        pytest.skip("SQLite has no row locks")
    holding, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(reason="")
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
