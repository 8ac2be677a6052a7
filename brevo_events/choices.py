from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Status(TextChoices):
    """Say where an event of the outbox is on its way."""

    PENDING = "pending", _("Pending")
    SENDING = "sending", _("Sending")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class Reason(TextChoices):
    """Say why an event ended as failed or cancelled."""

    REJECTED = "rejected", _("Rejected by Brevo")
    GAVE_UP = "gave_up", _("Gave up after too many attempts")
    SUPERSEDED = "superseded", _("Superseded by a newer event")
    EXPIRED = "expired", _("Expired before it could be sent")
    NO_CONSENT = "no_consent", _("No consent of the contact")
    OPERATOR = "operator", _("Cancelled by an operator")
    ERASED = "erased", _("Erased with its contact")


class GateReason(TextChoices):
    """Say why the gate holds all sending back."""

    ACCOUNT = "account", _("Wrong key or URL")
    THROTTLED = "throttled", _("Too many requests")
    OUTAGE = "outage", _("Brevo does not answer")


UNFINISHED = (Status.PENDING, Status.SENDING)
FINISHED = (Status.SENT, Status.FAILED, Status.CANCELLED)
