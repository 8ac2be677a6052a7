from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Self

from django.db import models, router
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import UNFINISHED, GateReason, Reason, Status
from brevo_events.columns import ExactCharField, ExactTextField, UtcNow, in_seconds
from brevo_events.conf import settings
from brevo_events.events import MAX_EMAIL_LENGTH, MAX_NAME_LENGTH, MAX_OBJECT_ID_LENGTH, Event, hash_of
from brevo_events.indexes import FinishedIndex
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.retry import brevo_error

__all__ = ["Gate", "GateReason", "OutboxEvent", "Reason", "SendAttempt", "Status"]

MAX_ERROR_LENGTH = 100
MAX_SOURCE_LENGTH = 150


class OutboxEvent(models.Model):
    """
    Keep one captured event, from its capture to its end.

    ``available_at`` is when it may first go out, ``due_at`` when a worker must
    look at it next: NULL only when nothing is left to do. ``parked`` marks an
    event that waits for an earlier one of its contact and has been moved out of
    the workers' way; ``lease_token`` is set while somebody is sending it. What
    a user has ended stays due until a worker has freed the events behind it.
    ``source`` names the row whose change caused the event, as in
    ``shop.cartline:12``, where a receiver knew it.
    """

    name = ExactCharField(_("event"), max_length=MAX_NAME_LENGTH)
    email = ExactCharField(_("contact"), max_length=MAX_EMAIL_LENGTH)
    contact = models.CharField(max_length=64, editable=False)
    object_id = ExactCharField(_("object"), max_length=MAX_OBJECT_ID_LENGTH, null=True, blank=True)
    body = ExactTextField(_("body"))
    source = ExactCharField(max_length=MAX_SOURCE_LENGTH, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.PENDING)
    reason = models.CharField(_("reason"), max_length=10, choices=Reason, blank=True)
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    created_at = models.DateTimeField(_("captured"), db_default=UtcNow())
    available_at = models.DateTimeField(_("available"), db_default=UtcNow())
    due_at = models.DateTimeField(_("next attempt"), null=True, blank=True, db_default=UtcNow())
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    coalesce_key = models.CharField(max_length=64, null=True, blank=True, editable=False)
    idempotency_key = models.CharField(max_length=64, null=True, blank=True, unique=True, editable=False)
    parked = models.BooleanField(default=False, editable=False)
    lease_token = models.CharField(max_length=32, null=True, blank=True, editable=False)

    objects = OutboxEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        permissions = [
            ("resend_outboxevent", "Can resend events"),
            ("cancel_outboxevent", "Can cancel events"),
            ("erase_contact", "Can erase contacts"),
            ("view_contact_data", "Can view addresses and what was sent"),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], name="brevo_events_due"),
            models.Index(fields=["contact", "status", "id"], name="brevo_events_contact"),
            models.Index(fields=["coalesce_key", "status", "id"], name="brevo_events_coalesce"),
            models.Index(fields=["object_id", "contact", "id"], name="brevo_events_object"),
            FinishedIndex(fields=["status", "finished_at"], name="brevo_events_status"),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"

    @classmethod
    def of(cls, event: Event, source: str = "") -> Self:
        """Return the unsaved row of an event, some of its moments for the database's clock to fill in."""
        row = cls(
            name=event.name,
            email=event.email,
            contact=event.contact,
            object_id=event.object_id,
            body=event.json(),
            source=source,
        )
        if event.coalesce:
            row.coalesce_key = event.coalesce_key
        if event.idempotency_key is not None:
            row.idempotency_key = hash_of(event.idempotency_key)
        if event.delay:
            row.available_at = row.due_at = in_seconds(event.delay)
        expires = settings.expires_after(event.name) if event.expires is None else event.expires
        if expires is not None:
            # The setting may be shorter than a delay: then it counts from its end, or the event could never go out.
            delay = event.delay or 0
            row.expires_at = in_seconds(expires if expires > delay else expires + delay)
        return row

    def forget_expressions(self) -> None:
        """Let the moments that the database has made of expressions be read when they are asked for."""
        for name, value in list(vars(self).items()):
            if hasattr(value, "resolve_expression"):
                delattr(self, name)

    def as_event(self) -> Event:
        """Return what was captured, without the options that steer its way."""
        return Event(self.name, self.email, object_id=self.object_id, data=self.data, properties=self.properties)

    @property
    def is_finished(self) -> bool:
        """Return whether nothing is left to do."""
        return self.status not in UNFINISHED

    @property
    def is_erased(self) -> bool:
        """Return whether all that it held of its contact is gone."""
        return not self.contact

    @property
    def data(self) -> dict[str, Any] | None:
        """Return the ``data`` that the event was captured with."""
        return json.loads(self.body).get("eventdata", {}).get("data")  # type: ignore[no-any-return]

    @property
    def properties(self) -> dict[str, Any] | None:
        """Return the ``properties`` that the event was captured with."""
        return json.loads(self.body).get("properties")  # type: ignore[no-any-return]


def outbox() -> OutboxEventQuerySet:
    """Return all events, on the database that they are written to."""
    return OutboxEvent.objects.on_primary()


class SendAttempt(models.Model):
    """Keep one request to Brevo: when, how long, which answer."""

    event = models.ForeignKey(OutboxEvent, models.CASCADE, related_name="send_attempts", verbose_name=_("event"))
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"))
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    error = ExactCharField(_("error"), max_length=MAX_ERROR_LENGTH, blank=True)
    answer = ExactTextField(_("answer"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"#{self.pk}: {self.response_code or self.error}"

    @property
    def message(self) -> str:
        """Return Brevo's message, or what went wrong."""
        return brevo_error(self.answer)[1]


class Gate(models.Model):
    """
    Keep the one switch that holds all sending back, shared by every process.

    A change is a compare-and-set on ``generation``, as it was seen when the
    request started, so that many failures in flight close it only once.
    """

    FIRST_COOLDOWN = 15  # seconds; doubled by each failed probe
    MAX_COOLDOWN = 300

    reason = models.CharField(_("reason"), max_length=10, choices=GateReason, blank=True)
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed since"), null=True, blank=True)
    closed_until = models.DateTimeField(_("closed until"), null=True, blank=True)
    cooldown = models.PositiveIntegerField(_("cool-down (seconds)"), default=0)
    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)
    generation = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("gate")
        verbose_name_plural = _("gate")
        default_permissions = ("view",)
        permissions = [("pause_delivery", "Can pause and resume delivery")]

    def __str__(self) -> str:
        return "paused" if self.is_paused else "closed" if self.is_closed else "open"

    @classmethod
    def load(cls) -> Gate:
        """Return the gate as it is now; where nothing ever closed it, an open one that is not stored."""
        using = router.db_for_write(cls)
        return cls._default_manager.using(using).annotate(read_at=UtcNow()).filter(pk=1).first() or cls(pk=1)

    @property
    def is_open(self) -> bool:
        """Return whether neither a fault nor a pause holds anything back."""
        return not (self.is_closed or self.is_paused)

    @property
    def is_closed(self) -> bool:
        """Return whether only a probe may go out."""
        return self.closed_until is not None

    @property
    def is_paused(self) -> bool:
        """Return whether an operator holds everything back, probes too."""
        return self.paused_at is not None

    @property
    def is_probe_due(self) -> bool:
        """Return whether the cool-down is over."""
        return self.is_closed and self.seconds_until_probe == 0

    @property
    def seconds_until_probe(self) -> float:
        """Return the seconds until the cool-down is over, 0 where the gate is open."""
        read_at: datetime | None = getattr(self, "read_at", None)
        if self.closed_until is None or read_at is None:
            return 0.0
        return max((self.closed_until - read_at).total_seconds(), 0.0)

    def win_probe(self) -> bool:
        """Return whether this caller, of all processes, may send one event to see how things are."""
        closed = self._unchanged().filter(closed_until__lte=UtcNow())
        return bool(closed.update(closed_until=in_seconds(max(self.cooldown, self.FIRST_COOLDOWN))))

    def close(self, reason: GateReason, response_code: int | None, seconds: float | None = None) -> bool:
        """Hold sending back for some seconds, else for twice as long as last time; False if it changed meanwhile."""
        self._ensure_stored()
        cooldown = min(2 * self.cooldown, self.MAX_COOLDOWN) if self.is_closed else self.FIRST_COOLDOWN
        return bool(
            self._unchanged().update(
                reason=reason,
                response_code=response_code,
                closed_at=F("closed_at") if self.is_closed else UtcNow(),
                closed_until=in_seconds(cooldown if seconds is None else seconds),
                cooldown=cooldown,
                generation=F("generation") + 1,
            )
        )

    def open(self) -> bool:
        """Let sending go on; False if the gate was open, or changed meanwhile."""
        changes = {"reason": "", "response_code": None, "closed_at": None, "closed_until": None, "cooldown": 0}
        return self.is_closed and bool(self._unchanged().update(**changes, generation=F("generation") + 1))

    def pause(self) -> None:
        """Hold everything back until resume(); what is in flight goes on."""
        self._ensure_stored()
        self._stored().filter(paused_at=None).update(paused_at=UtcNow())

    def resume(self) -> None:
        """End a pause; a fault that closed the gate meanwhile, or before, still does."""
        self._stored().update(paused_at=None)

    def _stored(self) -> models.QuerySet[Gate]:
        return Gate._default_manager.using(router.db_for_write(Gate)).filter(pk=1)

    def _unchanged(self) -> models.QuerySet[Gate]:
        return self._stored().filter(generation=self.generation)

    def _ensure_stored(self) -> None:
        if self._state.adding:
            Gate._default_manager.using(router.db_for_write(Gate)).bulk_create([Gate(pk=1)], ignore_conflicts=True)


class HourlyCount(models.Model):
    """
    Keep how many events ended as sent and as failed in an hour that is over.

    Counted by whoever first wants to know (``hours``): a month of a busy shop
    is too much to count for a page. ``newest`` was the newest event then.
    """

    hour = models.DateTimeField(primary_key=True)
    sent = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    newest = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}: {self.sent} sent, {self.failed} failed"
