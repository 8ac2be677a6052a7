"""Turn a Django project's model changes into Brevo ``trackEvent`` calls."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brevo_events import commerce
    from brevo_events.events import Event
    from brevo_events.registration import track_on
    from brevo_events.snapshots import snapshot
    from brevo_events.tracking import cancel, track, track_many

__all__ = ["Event", "cancel", "commerce", "snapshot", "track", "track_many", "track_on"]

_HOMES = {
    "Event": "events",
    "cancel": "tracking",
    "snapshot": "snapshots",
    "track": "tracking",
    "track_many": "tracking",
    "track_on": "registration",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: an app's package is imported before its models can be.
    if name == "commerce":
        return import_module(f"{__name__}.commerce")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
