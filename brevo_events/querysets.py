from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from django.db import connections, models, router, transaction
from django.db.models.constants import OnConflict
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from brevo_events import states
from brevo_events.addresses import contact_hash
from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.clock import UtcNow

if TYPE_CHECKING:
    from brevo_events.models import OutboxEvent

BATCH = 500
Row = TypeVar("Row", bound=models.Model)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SKIPPED_WAITING = _("still waiting or being sent")
SKIPPED_SENDING = _("being sent")
SKIPPED_FINISHED = _("already finished")
SKIPPED_SENT = _("already sent")
SKIPPED_OUTDATED = _("a newer event of the same contact and object exists")
SKIPPED_EXPIRED = _("expired")
SKIPPED_ERASED = _("erased with its contact")


@dataclass(slots=True)
class Changed:
    """
    The IDs of the events that were changed, and how many were skipped, by reason.

    ``obstacles`` has all the reasons for each event that resend() skipped.
    """

    pks: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    obstacles: dict[int, list[str]] = field(default_factory=dict)

    def skip(self, reason: object, count: int = 1) -> None:
        """Count events as skipped."""
        self.skipped[str(reason)] = self.skipped.get(str(reason), 0) + count

    def add(self, other: Changed) -> None:
        """Add the result for other events."""
        self.pks += other.pks
        self.obstacles |= other.obstacles
        for reason, count in other.skipped.items():
            self.skip(reason, count)


class Locked(NamedTuple):
    """The columns of a locked event from which workers decide what to do with it."""

    status: str
    coalesce_key: str | None
    lease_token: str | None

    @property
    def is_finished(self) -> bool:
        """Whether the event has ended."""
        return self.status not in UNFINISHED


class PrimaryManager(models.Manager[Row]):
    """A manager that reads from the database used for writing, because a replica may lag behind."""

    @property
    def db(self) -> str:
        return self._db or router.db_for_write(self.model)

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().using(self.db)


class OutboxEventQuerySet(models.QuerySet["OutboxEvent"]):
    """Outbox events: finding them, and changing their state."""

    def unfinished(self) -> Self:
        """Return the events that have yet to be sent."""
        return self.filter(status__in=UNFINISHED)

    def due(self) -> Self:
        """Return the events that a worker has to look at now."""
        return self.filter(due_at__lte=UtcNow())

    def due_sometime(self) -> Self:
        """Return the events that a worker has to look at now or later."""
        # Not IS NOT NULL: if SQLite was analysed while nothing was due, it reads every finished event for that.
        return self.filter(due_at__gt=EPOCH)

    def seconds_until_first_due(self) -> float | None:
        """Return the seconds until the first event is due (negative if overdue), or None if nothing is waiting."""
        waiting = self.due_sometime().order_by("due_at").annotate(read_at=UtcNow())
        for due_at, read_at in waiting.values_list("due_at", "read_at")[:1]:
            return (due_at - read_at).total_seconds()  # type: ignore[operator]
        return None

    def of_contact(self, email: str) -> Self:
        """Return the events of one address, in any letter case."""
        return self.filter(contact=contact_hash(email))

    def newest_of_contact(self, contact: str, limit: int, *, before: int | None = None) -> list[OutboxEvent]:
        """Return a contact's newest events, newest first, given its hash; only those ``before`` an ID."""
        # One query per status, because the index then gives the newest at once, even for a contact with very many
        # events.
        found: list[OutboxEvent] = []
        for status in Status if contact else ():
            same = self.filter(contact=contact, status=status, **({} if before is None else {"pk__lt": before}))
            found += same.order_by("-pk")[:limit]
        return sorted(found, key=lambda event: -event.pk)[:limit]

    def captured_between(self, since: datetime | None, until: datetime | None) -> Self:
        """Return the events captured at ``since`` or later, and before ``until``."""
        return self.filter(**_between("created_at", since, until))

    def finished_between(self, status: str, since: datetime | None, until: datetime | None) -> Self:
        """Return the events that ended with a status at ``since`` or later, and before ``until``."""
        return self.filter(status=status, finished_at__isnull=False, **_between("finished_at", since, until))

    def of_failure(self, *fingerprints: str) -> Self:
        """Return the events whose last answer has one of these fingerprints."""
        return self.filter(failure__in=fingerprints)

    def insert(self, row: OutboxEvent) -> bool:
        """
        Insert one row, or return False if its idempotency key already exists.

        In one statement, because an error would break a transaction on
        PostgreSQL, and a savepoint costs more than the INSERT. Not with save(),
        which costs more as well. Values from the database's clock are fetched
        when first read.
        """
        columns = [column for column in self.model._meta.concrete_fields if not column.primary_key]
        key: Any = self.model._meta.pk
        # With a key, a conflict just means that nothing is inserted; without one, no conflict may be ignored.
        on_conflict = None if row.idempotency_key is None else OnConflict.IGNORE
        with transaction.mark_for_rollback_on_error(self.db):
            inserted: Any = self._insert(  # type: ignore[attr-defined]
                [row], fields=columns, returning_fields=[key], using=self.db, on_conflict=on_conflict
            )
        if not inserted or not inserted[0] or not inserted[0][0]:
            return False
        row.pk = inserted[0][0]
        row._state.adding, row._state.db = False, self.db
        row.forget_expressions()
        return True

    def supersede(self, row: OutboxEvent, names: Iterable[str]) -> None:
        """
        Supersede earlier unfinished events with one of these names, of the row's contact and object.

        An event that is being sent keeps its status and lease; its reason says
        that it ends instead of being put back. A row that wasn't inserted
        supersedes all of them.
        """
        older = self.filter(contact=row.contact, object_id=row.object_id, status__in=UNFINISHED)
        older = older.filter(name__in=list(names), **({} if row.pk is None else {"pk__lt": row.pk}))
        if connections[self.db].vendor == "mysql":
            older = self.with_status(UNFINISHED, list(older.values_list("pk", flat=True)))
        older.update(**states.superseded())

    def cancel(self, *, dry_run: bool = False, reason: Reason = Reason.OPERATOR) -> Changed:
        """
        Cancel pending events; an event that is being sent isn't stopped.

        After the caller's commit, a worker releases the next events of the same
        contacts, so that the caller and the workers can't wait for each other.
        """
        result = Changed()
        events = self.model.objects
        for pks in in_batches(sorted(self.values_list("pk", flat=True))):
            chosen = []
            for pk, status in events.filter(pk__in=pks).values_list("pk", "status"):
                if status == Status.PENDING:
                    chosen.append(pk)
                else:
                    result.skip(SKIPPED_SENDING if status == Status.SENDING else SKIPPED_FINISHED)
            if not dry_run:
                wanted = events.with_status([Status.PENDING], chosen)
                if (changed := wanted.update(**states.cancelled(reason))) < len(chosen):
                    # A worker was quicker with some of them.
                    result.skip(SKIPPED_SENDING, len(chosen) - changed)
                    ended = events.filter(pk__in=chosen, status=Status.CANCELLED, reason=reason)
                    chosen = list(ended.values_list("pk", flat=True))
            result.pks += chosen
        return result

    def resend(
        self,
        *,
        include_sent: bool = False,
        include_outdated: bool = False,
        include_expired: bool = False,
        dry_run: bool = False,
    ) -> Changed:
        """
        Send finished events again, from zero attempts; earlier attempts stay recorded.

        Skips an event if a newer one exists for its contact and object, because
        a stale cart must not follow its order; also one that has expired. If
        you include expired events, they don't expire again. A resend may change
        the order of a contact's events.
        """
        result = Changed()
        options = {SKIPPED_SENT: include_sent, SKIPPED_OUTDATED: include_outdated, SKIPPED_EXPIRED: include_expired}
        included = [str(reason) for reason, is_included in options.items() if is_included]
        outdated = has_like(self.model.objects.all(), pk__gt=models.OuterRef("pk"))
        expired = models.Q(reason=Reason.EXPIRED) | models.Q(expires_at__lte=UtcNow())
        events = self.model.objects
        for pks in in_batches(sorted(self.values_list("pk", flat=True))):
            chosen, taken_in = [], []
            found = events.filter(pk__in=pks).annotate(is_outdated=_holds(outdated), is_expired=_holds(expired))
            for pk, status, contact, is_outdated, is_expired in found.values_list(
                "pk", "status", "contact", "is_outdated", "is_expired"
            ):
                against = [
                    reason for reason in obstacles(status, contact, is_outdated, is_expired) if reason not in included
                ]
                if against:
                    result.skip(against[0])
                    result.obstacles[pk] = against
                else:
                    chosen.append(pk)
                    taken_in += [pk] if is_outdated else []
            result.pks += chosen
            if not dry_run:
                # An outdated event that was included on purpose is sent as it is, and isn't replaced by a newer one.
                events.filter(pk__in=taken_in).update(coalesce_key=None)
                finished = events.filter(pk__in=chosen).exclude(status__in=UNFINISHED).exclude(contact="")
                finished.update(**states.resent(expired))
        return result

    def with_status(self, statuses: Iterable[str], pks: list[int]) -> Self:
        """Return those of some events that have one of these statuses, for an UPDATE that finds them by key."""
        # Lower() keeps MariaDB from using the index of the status, which would cause deadlocks with workers.
        return self.filter(pk__in=pks).alias(state=Lower("status")).filter(state__in=list(statuses))

    def lock_free(self) -> Self:
        """Lock the rows that aren't locked elsewhere, without waiting; SQLite has no row locks and needs none."""
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(skip_locked=features.has_select_for_update_skip_locked)

    def lock_by_key(self, pks: Iterable[int]) -> dict[int, Locked]:
        """Lock those of some events that aren't locked elsewhere, and return the columns that workers need."""
        # Selects a column that is in no index, so that MariaDB locks only the primary key.
        held = self.filter(pk__in=list(pks)).lock_free()
        steering = held.values_list("pk", "status", "coalesce_key", "lease_token")
        return {pk: Locked(status, key, token) for pk, status, key, token in steering}

    def begin_writing(self) -> None:
        """Begin a transaction with a write, if that is what takes the lock."""
        # SQLite fails at once when a transaction that has already read wants to write, so write first.
        if not connections[self.db].features.has_select_for_update:
            self.model.objects.using(self.db).filter(pk=0).update(parked=False)


def obstacles(status: str, contact: str, is_outdated: bool, is_expired: bool) -> list[str]:
    """Return all reasons why a resend skips an event by default; the one to show comes first."""
    reasons = {
        SKIPPED_WAITING: status in UNFINISHED,
        SKIPPED_ERASED: not contact,
        SKIPPED_SENT: status == Status.SENT,
        SKIPPED_OUTDATED: is_outdated,
        SKIPPED_EXPIRED: is_expired,
    }
    return [str(reason) for reason, applies in reasons.items() if applies]


def in_batches(pks: list[int]) -> Iterator[list[int]]:
    """Split keys into lists that every database accepts in one statement, and that lock few rows at a time."""
    for start in range(0, len(pks), BATCH):
        yield pks[start : start + BATCH]


def has_like(events: OutboxEventQuerySet, **which: Any) -> models.Q:
    """Return the condition that these events include one with the same contact and object, or coalesce key."""
    alike = (("contact", "object_id"), ("coalesce_key",))
    of_object, of_key = (
        models.Exists(events.filter(**{name: models.OuterRef(name) for name in names}, **which)) for names in alike
    )
    return models.Q(of_object) | models.Q(of_key)


def _between(column: str, since: datetime | None, until: datetime | None) -> dict[str, datetime]:
    ends = {f"{column}__gte": since, f"{column}__lt": until}
    return {lookup: moment for lookup, moment in ends.items() if moment is not None}


def _holds(condition: models.Q) -> models.Case:
    return models.Case(models.When(condition, then=True), default=False, output_field=models.BooleanField())
