"""Decide which Brevo the shop talks to: the real one where a key is set, a fake one on loopback else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test.utils import override_settings

from brevo_events.testing import FakeBrevo, Reply

FAKE_KEY = "thekeyofthefakebrevo0000"
BLOCKED_DOMAIN = "blocked.example"
FLAKY_DOMAIN = "flaky.example"


def has_real_key() -> bool:
    """Return whether the environment gives a key of a real account."""
    return settings.BREVO_EVENTS.get("MA_KEY", "") not in ("", FAKE_KEY)


def is_fake() -> bool:
    """Return whether the fake Brevo is the one that is told."""
    return settings.BREVO_EVENTS.get("MA_KEY") == FAKE_KEY


@contextmanager
def fake_brevo(*, latency: float = 0.0, **more: object) -> Iterator[FakeBrevo]:
    """Start a fake Brevo and send to it, with some more settings of ``BREVO_EVENTS``; ``latency`` is in seconds."""
    with (
        FakeBrevo(ma_key=FAKE_KEY, latency=latency) as brevo,
        override_settings(BREVO_EVENTS={"MA_KEY": FAKE_KEY, "URL": brevo.url, **more}),
    ):
        yield brevo


def misbehave(brevo: FakeBrevo) -> None:
    """Let the fake refuse some addresses, and fail at first for others, as the page of the account says."""
    blocklisted = Reply.error(400, "invalid_parameter", "Contact is blocklisted")
    trouble = Reply.error(500, "internal_error", "Something went wrong on our side")
    brevo.when(_is_at(BLOCKED_DOMAIN), blocklisted, repeat=True)
    brevo.when(_every_first_time(_is_at(FLAKY_DOMAIN)), trouble, repeat=True)


def _is_at(domain: str) -> Callable[[dict[str, Any]], bool]:
    return lambda body: str(body.get("email")).lower().endswith(f"@{domain}")


def _every_first_time(matches: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    """Match an event when it comes, and not when it comes again; after that, the same content is new once more."""
    seen: set[str] = set()

    def matches_first_time(body: dict[str, Any]) -> bool:
        if not matches(body):
            return False
        seen.symmetric_difference_update({text := json.dumps(body, sort_keys=True)})
        return text in seen

    return matches_first_time
