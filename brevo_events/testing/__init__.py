"""
Helpers for a project's tests, and a stand-in for Brevo.

Loaded on first use: ``FakeBrevo`` doesn't need Django settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brevo_events.lazy import lazy_names

if TYPE_CHECKING:
    from brevo_events.testing.assertions import BrevoEventsTestMixin
    from brevo_events.testing.captured import capture_events, deliver_events
    from brevo_events.testing.fake_brevo import FakeBrevo, ReceivedRequest, Reply

__all__ = ["BrevoEventsTestMixin", "FakeBrevo", "ReceivedRequest", "Reply", "capture_events", "deliver_events"]

_HOMES = {
    "BrevoEventsTestMixin": "assertions",
    "FakeBrevo": "fake_brevo",
    "ReceivedRequest": "fake_brevo",
    "Reply": "fake_brevo",
    "capture_events": "captured",
    "deliver_events": "captured",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
