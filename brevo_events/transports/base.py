from __future__ import annotations

from brevo_events.answers import Answer
from brevo_events.choices import Call

__all__ = ["Answer", "Transport"]


class Transport:
    """
    Base class for transports.

    One instance is used by many threads at once; its ``send`` must not use the
    database.
    """

    @classmethod
    def from_settings(cls) -> Transport:
        """Return an instance configured by the settings; raises ``InvalidSetting`` if they don't suffice."""
        return cls()

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        """Send the body of one call, as JSON text, and return the answer. Must not raise."""
        raise NotImplementedError
