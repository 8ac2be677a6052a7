from __future__ import annotations

from django.core import checks


class Engine:
    """
    Be the base of every engine, and the engine ``worker``.

    It does nothing itself: ``send_brevo_events`` delivers, from cron or as a
    process of its own.
    """

    sends_in_request = False  # whether nudge() returns only when the events are sent

    def start(self) -> None:
        """Get ready, at a request of a web process: something may be due that a dead process has left behind."""

    def nudge(self) -> None:
        """Learn that events have been committed; a nudge may be lost, the events are not."""

    def check(self) -> list[checks.CheckMessage]:
        """Return what is wrong with what the engine needs, as a system check does."""
        return []

    def finish(self) -> None:
        """End cleanly, as the process does; a later nudge or request starts the engine anew."""
