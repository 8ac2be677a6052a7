from __future__ import annotations

import threading
from importlib.util import find_spec

import pytest
from django.db import connections

from brevo_events.testing import FakeBrevo
from brevo_events.transports import locmem

# No four letters of it are hexadecimal, so that an address or an ID in a traceback isn't mistaken for part of the key.
KEY = "ghijklmnopqrstuvwxyzqzjx"


# The packages that drive a browser are in the group ``dev``, not in ``test``.
collect_ignore = [] if find_spec("playwright") else ["browser"]


@pytest.fixture(autouse=True)
def _begin_anew(monkeypatch):
    """Forget what the process remembers of earlier tests, and allow counting more time on a busy machine."""
    locmem.sent.clear()
    monkeypatch.setattr("brevo_events.hours.PATIENCE", 60)


@pytest.fixture
def fake_brevo(settings):
    """A fake Brevo that the http transport sends to; the engine is the worker, so that tests deliver explicitly."""
    with FakeBrevo(ma_key=KEY) as brevo:
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "URL": brevo.url, "TRANSPORT": "http", "ENGINE": "worker", "TIMEOUT": 1}
        yield brevo


@pytest.fixture
def in_thread():
    """Run a function in a separate thread, and close its connections."""
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
