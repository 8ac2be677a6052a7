"""The Brevo that the shop talks to: the real one if a key is set, otherwise a stand-in on loopback."""

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
SLOW = 4.0  # seconds before an answer


class Mood(TextChoices):
    """The behaviour of the stand-in, as named by the switch in the panel."""

    WELL = "well", _("Works")
    SLOW = "slow", _("Slow")
    DOWN = "down", _("Down")
    REFUSING = "refusing", _("Refuses key")


class PlayedBrevo(FakeBrevo):
    """A fake Brevo whose mood can be changed while it is running."""

    def __init__(self, latency: float) -> None:
        super().__init__(FAKE_KEY, latency=latency, api_key=FAKE_API_KEY)
        self.mood, self._usual_latency = Mood.WELL, latency
        self._changing = Lock()
        # Planned first: if the key isn't accepted, the event doesn't matter.
        unauthorized = Reply.error(401, "unauthorized", "Key not found")
        self.when(lambda _body: self.mood == Mood.REFUSING, unauthorized, repeat=True)

    def change(self, mood: Mood) -> None:
        """Change the mood; while it is down, nothing listens on its port."""
        with self._changing:
            self.mood = mood
            self.latency = SLOW if mood == Mood.SLOW else self._usual_latency
            if mood == Mood.DOWN:
                self.stop()
            else:
                self.start()


_running: list[PlayedBrevo] = []


def running() -> PlayedBrevo | None:
    """Return this process's stand-in for Brevo, if there is one."""
    return _running[-1] if _running else None


def has_real_key() -> bool:
    """Return whether the environment contains the key of a real account."""
    return settings.BREVO_EVENTS.get("MA_KEY", "") not in ("", FAKE_KEY)


@contextmanager
def fake_brevo(*, latency: float = 0.0, **more: object) -> Iterator[PlayedBrevo]:
    """Run a stand-in for Brevo and send to it, with some more ``BREVO_EVENTS`` settings; ``latency`` is in seconds."""
    with PlayedBrevo(latency) as brevo:
        keys = {"MA_KEY": FAKE_KEY, "API_KEY": FAKE_API_KEY, "URL": brevo.url}
        _running.append(brevo)
        try:
            with override_settings(BREVO_EVENTS={**keys, **more}):
                yield brevo
        finally:
            _running.remove(brevo)


def misbehave(brevo: FakeBrevo) -> None:
    """Make the fake refuse some addresses, and fail at first for others, as described on the account page."""
    blocklisted = Reply.error(400, "invalid_parameter", "Contact is blocklisted")
    trouble = Reply.error(500, "internal_error", "Something went wrong on our side")
    brevo.when(_is_at(BLOCKED_DOMAIN), blocklisted, repeat=True)
    brevo.when(_every_first_time(_is_at(FLAKY_DOMAIN)), trouble, repeat=True)


def _is_at(domain: str) -> Callable[[dict[str, Any]], bool]:
    return lambda body: str(body.get("email")).lower().endswith(f"@{domain}")


def _every_first_time(matches: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    """Match an event the first time it arrives, but not the second; after that, the same content counts as new."""
    seen: set[str] = set()

    def matches_first_time(body: dict[str, Any]) -> bool:
        if not matches(body):
            return False
        seen.symmetric_difference_update({text := json.dumps(body, sort_keys=True)})
        return text in seen

    return matches_first_time
