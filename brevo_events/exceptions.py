from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class BrevoEventsError(Exception):
    """Be the base of every error that this app raises."""


class InvalidEvent(BrevoEventsError, ValueError):
    """Say that an event cannot be sent as it was given, with the path of the value that is wrong."""


class InvalidSetting(BrevoEventsError, ImproperlyConfigured):
    """Say which key of ``BREVO_EVENTS`` has a value that cannot be used, and what would do."""
