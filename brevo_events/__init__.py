"""Turn a Django project's model changes into Brevo ``trackEvent`` calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brevo_events.lazy import lazy_names

if TYPE_CHECKING:
    from brevo_events import commerce
    from brevo_events.events import Event
    from brevo_events.muting import muted
    from brevo_events.registration import track_on
    from brevo_events.snapshots import snapshot
    from brevo_events.tracking import cancel, identify, track, track_many

__version__ = "0.1.0"

__all__ = ["Event", "cancel", "commerce", "identify", "muted", "snapshot", "track", "track_many", "track_on"]

_HOMES = {
    "Event": "events",
    "cancel": "tracking",
    "commerce": "commerce",
    "identify": "tracking",
    "muted": "muting",
    "snapshot": "snapshots",
    "track": "tracking",
    "track_many": "tracking",
    "track_on": "registration",
}

# Django imports an app's package before its models can be loaded.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
