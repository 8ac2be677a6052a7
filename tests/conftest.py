from __future__ import annotations

import pytest

from brevo_events.testing import FakeBrevo
from brevo_events.transports import locmem

KEY = "abcdefghijklmnopqrstuvwx"


@pytest.fixture(autouse=True)
def _begin_anew():
    """Forget what the process remembers of earlier tests."""
    locmem.sent.clear()
    from brevo_events.delivery import verdicts

    verdicts._failing.clear()


@pytest.fixture
def fake_brevo(settings):
    """A fake Brevo that the http transport sends to; the engine is the worker, so that tests deliver by hand."""
    with FakeBrevo(ma_key=KEY) as brevo:
        settings.BREVO_EVENTS = {"MA_KEY": KEY, "URL": brevo.url, "TRANSPORT": "http", "ENGINE": "worker", "TIMEOUT": 1}
        yield brevo
