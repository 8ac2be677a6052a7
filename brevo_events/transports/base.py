from __future__ import annotations

from brevo_events.events import readdressed
from brevo_events.retry import Answer

__all__ = ["Answer", "Readdressing", "Transport"]


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

    def send(self, body: str) -> Answer:
        """Send one request body, a JSON text, and return the answer; raise nothing."""
        raise NotImplementedError


class Readdressing(Transport):
    """Send by another transport, every event for one address: ``OVERRIDE_EMAIL``."""

    def __init__(self, transport: Transport, email: str) -> None:
        self._transport = transport
        self._email = email

    def send(self, body: str) -> Answer:
        return self._transport.send(readdressed(body, self._email))
