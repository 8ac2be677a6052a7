from __future__ import annotations

from django.core import checks


class Engine:
    """
    Base class for engines, and the engine ``worker``.

    It does nothing itself: ``send_brevo_events`` delivers, from cron or as a
    separate process.
    """

    sends_in_request = False  # whether nudge() returns only after sending the events

    def start(self) -> None:
        """Get ready, at a request of a web process, because a dead process may have left due events behind."""

    def nudge(self) -> None:
        """Take note that events have been committed. A nudge may get lost; the events don't."""

    def check(self) -> list[checks.CheckMessage]:
        """Return system-check messages about what the engine needs."""
        return []

    def finish(self) -> None:
        """End cleanly, together with the process; a later nudge or request starts the engine again."""
