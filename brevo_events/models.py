from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self, cast

from django.db import connections, models, router, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from brevo_events.addresses import MAX_EMAIL_LENGTH
from brevo_events.answers import FINGERPRINT, brevo_error
from brevo_events.choices import UNFINISHED, Call, GateReason, InterruptionEnd, InterruptionKind, Reason, Status
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.conf import settings
from brevo_events.events import MAX_NAME_LENGTH, MAX_OBJECT_ID_LENGTH, Event, Identification, key_hash
from brevo_events.fields import ExactCharField, ExactTextField, FinishedIndex, SparseIndex
from brevo_events.journal import MAX_NAME_OF_OPERATOR, MAX_PAUSE_REASON, Heartbeat, Interruption
from brevo_events.querysets import OutboxEventQuerySet, PrimaryManager

__all__ = ["Gate", "GateReason", "Heartbeat", "Interruption", "OutboxEvent", "Reason", "SendAttempt", "Status"]

OutboxEventManager = PrimaryManager.from_queryset(OutboxEventQuerySet)

MAX_ERROR_LENGTH = 100
MAX_SOURCE_LENGTH = 150
MAX_REFERENCE_LENGTH = 100
UNFINISHED_LIMIT = 10_000  # events counted at the end of an interruption


class OutboxEvent(models.Model):
    """
    One captured event, from its capture to its end.

    ``available_at`` is when it may first be sent, ``due_at`` when a worker must
    look at it next: NULL only if nothing is left to do. ``parked`` marks an
    event that waits for an earlier one of its contact and has been set aside;
    ``lease_token`` is set while a worker has it. An event that a user has ended
    stays due until a worker has released the events behind it. ``failure`` is
    the fingerprint of the last answer, unless Brevo accepted the event or it
    was cancelled, and ``failed_at`` is when that answer came. ``reference`` is
    the number by which people know the event, so that they can search for it:
    ``data["id"]``, which is the order's number in ``order_completed``.
    ``source`` names the row whose change caused the event, as in
    ``shop.cartline:12``, if a receiver knew it. ``call`` says which Brevo call
    it is; an ``identify`` call has that name, and no object.
    """

    name = ExactCharField(_("event"), max_length=MAX_NAME_LENGTH)
    email = ExactCharField(_("contact"), max_length=MAX_EMAIL_LENGTH)
    contact = models.CharField(max_length=64, editable=False)
    object_id = ExactCharField(_("object"), max_length=MAX_OBJECT_ID_LENGTH, null=True, blank=True)
    reference = ExactCharField(_("reference"), max_length=MAX_REFERENCE_LENGTH, null=True, blank=True)
    body = ExactTextField(_("body"))
    source = ExactCharField(max_length=MAX_SOURCE_LENGTH, blank=True, editable=False)
    call = models.CharField(max_length=10, choices=Call, default=Call.TRACK_EVENT, editable=False)
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
    failure = models.CharField(_("failure"), max_length=FINGERPRINT, null=True, blank=True, editable=False)
    failed_at = models.DateTimeField(_("failed"), null=True, blank=True, editable=False)

    objects = OutboxEventManager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        permissions = [
            ("resend_outboxevent", "Can resend events"),
            ("cancel_outboxevent", "Can cancel events"),
            ("erase_contact", "Can erase contacts"),
            ("view_contact_data", "Can view addresses and what was sent"),
            ("export_outboxevent", "Can export events"),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], name="brevo_events_due"),
            models.Index(fields=["contact", "status", "id"], name="brevo_events_contact"),
            models.Index(fields=["coalesce_key", "status", "id"], name="brevo_events_coalesce"),
            models.Index(fields=["object_id", "contact", "id"], name="brevo_events_object"),
            # Includes the columns that lists filter by: without them, MariaDB would read thousands of scattered rows
            # one by one.
            FinishedIndex(
                fields=["status", "finished_at", "id", "reason", "response_code", "name"], name="brevo_events_status"
            ),
            models.Index(fields=["created_at", "id"], name="brevo_events_captured"),
            SparseIndex(fields=["reference", "id"], name="brevo_events_reference"),
            SparseIndex(fields=["failure", "failed_at", "id", "contact"], name="brevo_events_failure"),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"

    @classmethod
    def of(cls, event: Event, source: str = "") -> Self:
        """Return the unsaved row of an event; the database's clock will fill in some of its times."""
        row = cls(
            name=event.name,
            email=event.email,
            contact=event.contact_hash,
            object_id=event.object_id,
            reference=_reference(event),
            body=event.json(),
            source=source,
            call=event.call,
        )
        if event.coalesce:
            row.coalesce_key = event.coalesce_key
        if event.idempotency_key is not None:
            row.idempotency_key = key_hash(event.idempotency_key)
        delay = cast("float", event.delay or 0)  # an Event stores both in seconds
        if delay:
            row.available_at = row.due_at = in_seconds(delay)
        expires = settings.expires_after(event.name) if event.expires is None else cast("float", event.expires)
        if expires is not None:
            # The setting may be shorter than the delay: then it counts from the end of the delay, or the event could
            # never be sent.
            row.expires_at = in_seconds(expires if expires > delay else expires + delay)
        return row

    def forget_expressions(self) -> None:
        """Drop values that the database computes from expressions, so that they are fetched when first read."""
        for name, value in list(vars(self).items()):
            if hasattr(value, "resolve_expression"):
                delattr(self, name)

    def as_event(self) -> Event:
        """Return the captured event, without the options that only affect its delivery."""
        if self.call == Call.IDENTIFY:
            return Identification(self.email, self.properties or {})
        return Event(self.name, self.email, object_id=self.object_id, data=self.data, properties=self.properties)

    @property
    def is_finished(self) -> bool:
        """Whether the event has ended as sent, failed or cancelled."""
        return self.status not in UNFINISHED

    @property
    def is_erased(self) -> bool:
        """Whether everything about its contact has been erased."""
        return not self.contact

    @property
    def data(self) -> dict[str, Any] | None:
        """The ``data`` that the event was captured with."""
        return json.loads(self.body).get("eventdata", {}).get("data")  # type: ignore[no-any-return]

    @property
    def properties(self) -> dict[str, Any] | None:
        """The ``properties`` that the event was captured with; for ``identify``, the attributes."""
        name = "attributes" if self.call == Call.IDENTIFY else "properties"
        return json.loads(self.body).get(name)  # type: ignore[no-any-return]


def _reference(event: Event) -> str | None:
    value = (event.data or {}).get("id")
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    return str(value).strip()[:MAX_REFERENCE_LENGTH] or None


class SendAttempt(models.Model):
    """One request to Brevo: when, how long it took, and the answer."""

    event = models.ForeignKey(OutboxEvent, models.CASCADE, related_name="send_attempts", verbose_name=_("event"))
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"))
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    error = ExactCharField(_("error"), max_length=MAX_ERROR_LENGTH, blank=True)
    answer = ExactTextField(_("answer"), blank=True)

    objects = PrimaryManager["SendAttempt"]()

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"#{self.pk}: {self.response_code or self.error}"

    @property
    def message(self) -> str:
        """Brevo's message, or a description of the failure."""
        return brevo_error(self.answer)[1]


class Gate(models.Model):
    """
    The circuit breaker: the one switch, shared by all processes, that puts delivery on hold.

    Closing and opening are a compare-and-set on the ``generation`` at the start
    of the request, so that many failures in flight close it only once. A pause
    has its own columns. A pause with a set end is over for anything that reads
    the gate after that time, by the database's clock; the columns are left
    unchanged.
    """

    FIRST_COOLDOWN = 5  # seconds; doubled by each failed probe
    LEAST_COOLDOWN = 1  # seconds; the same, if the answer itself says how long to wait
    MAX_COOLDOWN = 300

    reason = models.CharField(_("reason"), max_length=10, choices=GateReason, blank=True)
    response_code = models.PositiveSmallIntegerField(_("response code"), null=True, blank=True)
    closed_by = models.BigIntegerField(_("closed by event"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed since"), null=True, blank=True)
    closed_until = models.DateTimeField(_("closed until"), null=True, blank=True)
    cooldown = models.PositiveIntegerField(_("cool-down (seconds)"), default=0)
    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    paused_by = ExactCharField(_("paused by"), max_length=MAX_NAME_OF_OPERATOR, blank=True)
    pause_reason = ExactCharField(_("reason of the pause"), max_length=MAX_PAUSE_REASON, blank=True)
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
        """Return the current gate; an unsaved open one if nothing has ever closed it."""
        using = router.db_for_write(cls)
        return cls._default_manager.using(using).annotate(read_at=UtcNow()).filter(pk=1).first() or cls(pk=1)

    @classmethod
    def lock_free(cls) -> bool:
        """Lock the gate unless a user's transaction holds it, and return whether it is ours. Needs a transaction."""
        using = router.db_for_write(cls)
        stored = cls._default_manager.using(using).filter(pk=1)
        if not connections[using].features.has_select_for_update_skip_locked:
            return True  # SQLite allows one writer at a time
        return bool(stored.select_for_update(skip_locked=True).values_list("pk")) or not stored.exists()

    @property
    def is_open(self) -> bool:
        """Whether delivery is neither on hold nor paused."""
        return not (self.is_closed or self.is_paused)

    @property
    def is_closed(self) -> bool:
        """Whether a fault has put delivery on hold, so that only probes may be sent."""
        return self.closed_until is not None

    @property
    def is_paused(self) -> bool:
        """Whether an operator has paused delivery, including probes."""
        if self.paused_at is None or self.paused_until is None or self._read_at is None:
            return self.paused_at is not None
        return self._read_at < self.paused_until

    @property
    def is_probe_due(self) -> bool:
        """Whether the cool-down is over."""
        return self.is_closed and self.seconds_until_probe == 0

    @property
    def seconds_until_probe(self) -> float:
        """The seconds until the cool-down is over, 0 if the gate is open."""
        return self._seconds_until(self.closed_until)

    @property
    def seconds_until_resumed(self) -> float | None:
        """The seconds until a pause ends by itself, or None if there is no such pause."""
        return self._seconds_until(self.paused_until) if self.is_paused and self.paused_until else None

    @property
    def cause(self) -> str:
        """The reason for a hold in words, with the response code; empty if the gate is open."""
        if not self.reason:
            return ""
        words = _("Brevo does not accept the key") if self.response_code == 401 else self.get_reason_display()
        return f"{words} ({self.response_code})" if self.response_code else str(words)

    def win_probe(self) -> bool:
        """Return whether this caller, among all processes, may send the probes."""
        closed = self._unchanged().filter(closed_until__lte=UtcNow())
        return bool(closed.update(closed_until=in_seconds(max(self.cooldown, self.FIRST_COOLDOWN))))

    def close(
        self, reason: GateReason, response_code: int | None, seconds: float | None = None, *, event: int | None = None
    ) -> bool:
        """
        Put delivery on hold for some seconds, at least twice as long as last time; False if the gate has changed.

        ``event`` is the primary key of the event whose answer caused it.
        """
        self._ensure_stored()
        first = self.FIRST_COOLDOWN if seconds is None else self.LEAST_COOLDOWN
        cooldown = min(2 * self.cooldown, self.MAX_COOLDOWN) if self.is_closed else first
        is_done = self._unchanged().update(
            reason=reason,
            response_code=response_code,
            closed_by=event,
            closed_at=F("closed_at") if self.is_closed else UtcNow(),
            closed_until=in_seconds(max(cooldown, seconds or 0)),
            cooldown=cooldown,
            generation=F("generation") + 1,
        )
        if is_done and not self.is_closed:
            cause = {"reason": reason, "response_code": response_code, "event": event}
            Interruption.objects.create(kind=InterruptionKind.HOLD, **cause)
        return bool(is_done)

    def try_now(self) -> bool:
        """End the current cool-down, so that a worker probes at once; returns False if delivery isn't on hold."""
        return bool(self._stored().exclude(closed_until=None).update(closed_until=UtcNow()))

    def open(self, *, event: int | None = None) -> bool:
        """
        End a hold; False if there is none, or if the gate has changed.

        ``event`` is the primary key of the event whose answer shows that Brevo
        is available.
        """
        changes = {"reason": "", "response_code": None, "closed_by": None, "closed_at": None, "closed_until": None}
        is_done = self.is_closed and self._unchanged().update(**changes, cooldown=0, generation=F("generation") + 1)
        if is_done:
            self._end(InterruptionKind.HOLD, end=InterruptionEnd.ANSWER, ended_event=event)
        return bool(is_done)

    def pause(self, *, by: str = "", reason: str = "", until: datetime | timedelta | None = None) -> None:
        """
        Pause delivery until resume(), or until ``until``, a datetime or timedelta; requests in flight are finished.

        ``by`` is a user's name, empty for a command. If delivery is already
        paused, this changes who paused it, why and until when.
        """
        by, reason = by[:MAX_NAME_OF_OPERATOR], reason[:MAX_PAUSE_REASON]
        moment: Any = until if until is None or isinstance(until, datetime) else in_seconds(until.total_seconds())
        end = InterruptionEnd.TIME if until else ""
        with self._locked() as gate:
            since = gate.paused_at if gate.is_paused else UtcNow()
            self._stored().update(paused_at=since, paused_until=moment, paused_by=by, pause_reason=reason)
            if gate.is_paused:
                Interruption.last(InterruptionKind.PAUSE).update(began_by=by, reason=reason, ended_at=moment, end=end)
            else:
                kind = InterruptionKind.PAUSE
                Interruption.objects.create(kind=kind, began_by=by, reason=reason, ended_at=moment, end=end)

    def resume(self, *, by: str = "") -> None:
        """End a pause, but not a hold, which a fault may have caused before or during it. ``by`` is a user's name."""
        with self._locked() as gate:
            if gate.is_paused:
                by = by[:MAX_NAME_OF_OPERATOR]
                self._end(InterruptionKind.PAUSE, end=InterruptionEnd.OPERATOR, ended_by=by)
            self._stored().update(paused_at=None, paused_until=None, paused_by="", pause_reason="")

    @contextmanager
    def _locked(self) -> Iterator[Gate]:
        """Run a transaction that locks the gate, and yield its current state."""
        using = router.db_for_write(Gate)
        with transaction.atomic(using=using):
            self._ensure_stored()
            # An UPDATE locks it on every database; on SQLite, a transaction has to begin with a write.
            self._stored().update(generation=F("generation"))
            yield Gate.load()

    def _end(self, kind: InterruptionKind, **how: Any) -> None:
        unfinished = OutboxEvent.objects.due_sometime().unfinished().order_by("due_at")[:UNFINISHED_LIMIT].count()
        Interruption.last(kind).update(ended_at=UtcNow(), unfinished=unfinished, **how)

    @property
    def _read_at(self) -> datetime | None:
        return getattr(self, "read_at", None)

    def _seconds_until(self, moment: datetime | None) -> float:
        if moment is None or self._read_at is None:
            return 0.0
        return max((moment - self._read_at).total_seconds(), 0.0)

    def _stored(self) -> models.QuerySet[Gate]:
        return Gate._default_manager.using(router.db_for_write(Gate)).filter(pk=1)

    def _unchanged(self) -> models.QuerySet[Gate]:
        return self._stored().filter(generation=self.generation)

    def _ensure_stored(self) -> None:
        if self._state.adding:
            Gate._default_manager.using(router.db_for_write(Gate)).bulk_create([Gate(pk=1)], ignore_conflicts=True)


class HourlyCount(models.Model):
    """
    How many events were sent and failed in a past hour.

    Counted when first needed (``hours``), because a busy shop's month is too
    much to count for a page. ``newest`` was the newest event at that time.
    """

    hour = models.DateTimeField(primary_key=True)
    sent = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    newest = models.BigIntegerField()

    objects = PrimaryManager["HourlyCount"]()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}: {self.sent} sent, {self.failed} failed"
