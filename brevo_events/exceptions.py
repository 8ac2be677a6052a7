from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class BrevoEventsError(Exception):
    """Base class for all errors raised by this app."""


class InvalidEvent(BrevoEventsError, ValueError):
    """The event can't be sent as given. The message names the offending value, as in ``data.items[2].price``."""


class InvalidSetting(BrevoEventsError, ImproperlyConfigured):
    """A key of ``BREVO_EVENTS`` has an unusable value. The message says which, and what would be valid."""
