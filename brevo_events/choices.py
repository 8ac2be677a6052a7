from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Call(TextChoices):
    """Which Brevo call an outbox event is; the value is the last part of its URL."""

    TRACK_EVENT = "trackEvent", "trackEvent"
    IDENTIFY = "identify", "identify"


class Status(TextChoices):
    """The status of an event in the outbox."""

    PENDING = "pending", _("Pending")
    SENDING = "sending", _("Sending")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class Reason(TextChoices):
    """Why an event ended as failed or cancelled."""

    REJECTED = "rejected", _("Rejected by Brevo")
    GAVE_UP = "gave_up", _("Gave up after too many attempts")
    SUPERSEDED = "superseded", _("Superseded by a newer event")
    EXPIRED = "expired", _("Expired before it could be sent")
    NO_CONSENT = "no_consent", _("No consent from the contact")
    OPERATOR = "operator", _("Cancelled by an operator")
    APPLICATION = "app", _("Cancelled by the application")
    ERASED = "erased", _("Erased with its contact")


class GateReason(TextChoices):
    """Why a fault has put delivery on hold."""

    ACCOUNT = "account", _("Wrong key or URL")
    THROTTLED = "throttled", _("Too many requests")
    OUTAGE = "outage", _("Brevo does not answer")


class InterruptionKind(TextChoices):
    """How delivery was interrupted."""

    HOLD = "hold", _("On hold")
    PAUSE = "pause", _("Paused")


class InterruptionEnd(TextChoices):
    """What ended an interruption."""

    ANSWER = "answer", _("Brevo answered again")
    OPERATOR = "operator", _("Resumed")
    TIME = "time", _("Ended by itself")


UNFINISHED = (Status.PENDING, Status.SENDING)
FINISHED = (Status.SENT, Status.FAILED, Status.CANCELLED)
