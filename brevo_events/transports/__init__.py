"""Transports, which send request bodies: each is a class with ``send(body, call) -> Answer``."""

from __future__ import annotations

from brevo_events.conf import settings
from brevo_events.transports.base import Answer, Transport
from brevo_events.transports.override import Readdressing

__all__ = ["TRANSPORTS", "Answer", "Transport", "current"]

TRANSPORTS = {
    "http": "brevo_events.transports.http.HttpTransport",
    "console": "brevo_events.transports.console.ConsoleTransport",
    "locmem": "brevo_events.transports.locmem.LocmemTransport",
}


def current() -> Transport:
    """Return the transport named in the settings, ready to send; raises ``InvalidSetting``."""
    transport = transport_class().from_settings()
    return Readdressing(transport, email) if (email := settings.OVERRIDE_EMAIL) else transport


def transport_class() -> type[Transport]:
    """Return the class that ``TRANSPORT`` names; raises ``InvalidSetting``."""
    return settings.class_named("TRANSPORT", TRANSPORTS, Transport)
