"""Decide which Brevo the shop talks to: the real one where a key is set, a fake one on loopback else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.test.utils import override_settings

from brevo_events.testing import FakeBrevo

FAKE_KEY = "thekeyofthefakebrevo0000"


def has_real_key() -> bool:
    """Return whether the environment gives a key of a real account."""
    return bool(settings.BREVO_EVENTS.get("MA_KEY"))


@contextmanager
def fake_brevo(**more: object) -> Iterator[FakeBrevo]:
    """Start a fake Brevo and send to it, with some more settings of ``BREVO_EVENTS``."""
    with (
        FakeBrevo(ma_key=FAKE_KEY) as brevo,
        override_settings(BREVO_EVENTS={"MA_KEY": FAKE_KEY, "URL": brevo.url, **more}),
    ):
        yield brevo
