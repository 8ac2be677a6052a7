"""How bytes leave: each transport is a class with ``send(body) -> Answer``."""

from __future__ import annotations

from django.utils.module_loading import import_string

from brevo_events.conf import settings
from brevo_events.exceptions import InvalidSetting
from brevo_events.transports.base import Answer, Transport

__all__ = ["TRANSPORTS", "Answer", "Transport", "current"]

TRANSPORTS = {
    "http": "brevo_events.transports.http.HttpTransport",
    "console": "brevo_events.transports.console.ConsoleTransport",
    "locmem": "brevo_events.transports.locmem.LocmemTransport",
}


def current() -> Transport:
    """Return the transport that the settings name, ready to send; raises ``InvalidSetting``."""
    return transport_class().from_settings()


def transport_class() -> type[Transport]:
    """Return the class that ``TRANSPORT`` names; raises ``InvalidSetting``."""
    name = settings.TRANSPORT
    try:
        found = import_string(TRANSPORTS.get(name, name))
    except (ImportError, TypeError, ValueError) as error:
        raise InvalidSetting(
            f"BREVO_EVENTS['TRANSPORT'] is {name!r}: use {', '.join(TRANSPORTS)} or the dotted path of a class."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Transport)):
        raise InvalidSetting(f"BREVO_EVENTS['TRANSPORT'] is {name!r}, which is no subclass of Transport.")
    return found
