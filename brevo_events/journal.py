"""What delivery records about itself: which processes deliver, and when it was interrupted."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import GateReason, InterruptionEnd, InterruptionKind
from brevo_events.clock import UtcNow
from brevo_events.fields import ExactCharField
from brevo_events.querysets import PrimaryManager

MAX_NAME_OF_OPERATOR = 150
MAX_PAUSE_REASON = 200
MAX_HOST_LENGTH = 100


class Interruption(models.Model):
    """
    A time during which delivery was on hold or paused, and what became of the events that waited.

    ``reason`` is the ``GateReason`` of a hold, or what an operator wrote;
    ``event`` is the ID of the event whose answer caused a hold, ``ended_event``
    of the one whose answer ended it. If a pause will end by itself, its
    ``ended_at`` is in the future. ``unfinished`` is how many events were
    unfinished at its end, including delayed ones (up to 10,000; None if they
    weren't counted). The counts after it are set by ``interruptions``, and None
    before that; once ``is_settled``, they don't change any more.
    """

    kind = models.CharField(_("kind"), max_length=10, choices=InterruptionKind)
    reason = ExactCharField(_("reason"), max_length=MAX_PAUSE_REASON, blank=True)
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    event = models.BigIntegerField(_("caused by event"), null=True, blank=True)
    began_by = ExactCharField(_("begun by"), max_length=MAX_NAME_OF_OPERATOR, blank=True)
    began_at = models.DateTimeField(_("began"), db_default=UtcNow())
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    end = models.CharField(_("end"), max_length=10, choices=InterruptionEnd, blank=True)
    ended_by = ExactCharField(_("ended by"), max_length=MAX_NAME_OF_OPERATOR, blank=True)
    ended_event = models.BigIntegerField(_("ended by event"), null=True, blank=True)
    unfinished = models.PositiveIntegerField(null=True, editable=False)
    sent = models.PositiveIntegerField(null=True, editable=False)
    superseded = models.PositiveIntegerField(null=True, editable=False)
    cancelled = models.PositiveIntegerField(null=True, editable=False)
    failed = models.PositiveIntegerField(null=True, editable=False)
    left = models.PositiveIntegerField(null=True, editable=False)
    lost = models.PositiveIntegerField(null=True, editable=False)
    is_settled = models.BooleanField(default=False, editable=False)

    objects = PrimaryManager["Interruption"]()

    class Meta:
        verbose_name = _("interruption of delivery")
        verbose_name_plural = _("interruptions of delivery")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"

    @classmethod
    def last(cls, kind: InterruptionKind) -> models.QuerySet[Interruption]:
        """Return the newest interruption of a kind, as a queryset to update."""
        pk = cls.objects.filter(kind=kind).order_by("-pk").values_list("pk", flat=True).first()
        return cls.objects.filter(pk=pk)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None and self.ended_at <= timezone.now()

    @property
    def seconds(self) -> float:
        """How long it lasted, or has lasted so far."""
        end: datetime = self.ended_at if self.is_over and self.ended_at else timezone.now()
        return max((end - self.began_at).total_seconds(), 0.0)

    @property
    def waited(self) -> int | None:
        """How many events waited because of it, or None if that isn't known yet."""
        parts = (self.sent, self.superseded, self.cancelled, self.failed, self.left)
        return None if self.sent is None else sum(part or 0 for part in parts)

    @property
    def cause(self) -> str:
        """The reason in words: that of a hold with its response code, or what an operator wrote."""
        reason: str = self.reason
        if self.kind == InterruptionKind.PAUSE:
            return reason
        words = str(GateReason(reason).label)
        return f"{words} ({self.response_code})" if self.response_code else words


class Heartbeat(models.Model):
    """A process that delivers, as of its last report. The row is deleted when it ends cleanly."""

    host = ExactCharField(_("host"), max_length=MAX_HOST_LENGTH)
    pid = models.PositiveBigIntegerField(_("process"))
    engine = models.CharField(_("engine"), max_length=20)
    version = models.CharField(_("version"), max_length=30, blank=True)
    started_at = models.DateTimeField(_("started"), db_default=UtcNow())
    seen_at = models.DateTimeField(_("last seen"), db_default=UtcNow())
    in_flight = models.PositiveIntegerField(_("in flight"), default=0)

    objects = PrimaryManager["Heartbeat"]()

    class Meta:
        verbose_name = _("delivering process")
        verbose_name_plural = _("delivering processes")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.engine} {self.pid} on {self.host}"
