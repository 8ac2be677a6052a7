"""Decide which Brevo the shop talks to: the real one if a key is set, else one that is played on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from django.conf import settings
from django.db.models import TextChoices
from django.test.utils import override_settings
from django.utils.translation import gettext_lazy as _

from brevo_events.testing import FakeBrevo, Reply
from shop.stage.people import BLOCKED_DOMAIN, FLAKY_DOMAIN

FAKE_KEY = "thekeyofthefakebrevo0000"
FAKE_API_KEY = "xkeysib-of-the-fake-brevo"
SLOW = 4.0  # seconds to an answer


class Mood(TextChoices):
    """How the played Brevo behaves, as the switch in the panel names it."""

    WELL = "well", _("Works")
    SLOW = "slow", _("Slow")
    DOWN = "down", _("Down")
    REFUSING = "refusing", _("Refuses key")


class PlayedBrevo(FakeBrevo):
    """A fake Brevo whose mood can be changed while it runs."""

    def __init__(self, latency: float) -> None:
        super().__init__(FAKE_KEY, latency=latency, api_key=FAKE_API_KEY)
        self.mood, self._usual_latency = Mood.WELL, latency
        self._changing = Lock()
        # Planned before all else: who does not accept the key does not look at the event.
        unauthorized = Reply.error(401, "unauthorized", "Key not found")
        self.when(lambda _body: self.mood == Mood.REFUSING, unauthorized, repeat=True)

    def change(self, mood: Mood) -> None:
        """Change the mood; while it is down, nothing listens at its address."""
        with self._changing:
            self.mood = mood
            self.latency = SLOW if mood == Mood.SLOW else self._usual_latency
            if mood == Mood.DOWN:
                self.stop()
            else:
                self.start()


_running: list[PlayedBrevo] = []


def running() -> PlayedBrevo | None:
    """Return the Brevo that is played in this process, if there is one."""
    return _running[-1] if _running else None


def has_real_key() -> bool:
    """Return whether the environment gives a key of a real account."""
    return settings.BREVO_EVENTS.get("MA_KEY", "") not in ("", FAKE_KEY)


@contextmanager
def fake_brevo(*, latency: float = 0.0, **more: object) -> Iterator[PlayedBrevo]:
    """Play a Brevo and send to it, with some more settings of ``BREVO_EVENTS``; ``latency`` is in seconds."""
    with PlayedBrevo(latency) as brevo:
        keys = {"MA_KEY": FAKE_KEY, "API_KEY": FAKE_API_KEY, "URL": brevo.url}
        _running.append(brevo)
        try:
            with override_settings(BREVO_EVENTS={**keys, **more}):
                yield brevo
        finally:
            _running.remove(brevo)


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
