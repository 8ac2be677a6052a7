from __future__ import annotations

from brevo_events.answers import Answer
from brevo_events.choices import Call

__all__ = ["Answer", "Transport"]


class Transport:
    """
    Be the base of every transport.

    One instance serves many threads at once; its ``send`` must not use the
    database.
    """

    @classmethod
    def from_settings(cls) -> Transport:
        """Return an instance as the settings want it; raises ``InvalidSetting`` where they do not suffice."""
        return cls()

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        """Send the body of one call, a JSON text, and return the answer; raise nothing."""
        raise NotImplementedError
