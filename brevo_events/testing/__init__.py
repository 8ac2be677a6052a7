"""
Helpers for the tests of a project, and a stand-in for Brevo.

Loaded on first use: ``FakeBrevo`` needs no Django settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brevo_events.testing.assertions import BrevoEventsTestMixin
    from brevo_events.testing.captured import capture_events
    from brevo_events.testing.fake_brevo import FakeBrevo, ReceivedRequest, Reply

__all__ = ["BrevoEventsTestMixin", "FakeBrevo", "ReceivedRequest", "Reply", "capture_events"]

_HOMES = {
    "BrevoEventsTestMixin": "assertions",
    "FakeBrevo": "fake_brevo",
    "ReceivedRequest": "fake_brevo",
    "Reply": "fake_brevo",
    "capture_events": "captured",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
