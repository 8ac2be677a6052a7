from __future__ import annotations

import pytest
from django.core.cache import cache

from brevo_events.testing import FakeBrevo
from tests.conftest import KEY
from tests.doctoring import API_KEY


@pytest.fixture
def by_hand(settings):
    """Events wait until a test delivers them itself, and no page shows what it remembers of another test."""
    settings.BREVO_EVENTS = {"ENGINE": "worker"}
    cache.clear()


@pytest.fixture
def brevo(settings):
    """A fake Brevo that answers what the doctor asks, too."""
    with FakeBrevo(ma_key=KEY, api_key=API_KEY) as brevo:
        settings.BREVO_EVENTS = {
            "MA_KEY": KEY,
            "API_KEY": API_KEY,
            "URL": brevo.url,
            "TRANSPORT": "http",
            "ENGINE": "thread",
            "TIMEOUT": 1,
        }
        yield brevo
