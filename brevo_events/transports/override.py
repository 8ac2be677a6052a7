from __future__ import annotations

from brevo_events.choices import Call
from brevo_events.events import readdressed
from brevo_events.transports.base import Answer, Transport


class Readdressing(Transport):
    """Wraps another transport, and sends every event for one address: ``OVERRIDE_EMAIL``."""

    def __init__(self, transport: Transport, email: str) -> None:
        self._transport = transport
        self._email = email

    def send(self, body: str, call: str = Call.TRACK_EVENT) -> Answer:
        return self._transport.send(readdressed(body, self._email), call)
