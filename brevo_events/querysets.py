from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.db import connections, models, router, transaction
from django.db.models.constants import OnConflict
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import UNFINISHED, Reason, Status
from brevo_events.columns import UtcNow
from brevo_events.events import contact_of

if TYPE_CHECKING:
    from brevo_events.models import OutboxEvent

BATCH = 500
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
    """Hold the keys of the events that were changed, and how many were skipped for which reason."""

    pks: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: object, count: int = 1) -> None:
        """Count events that stay as they are."""
        self.skipped[str(reason)] = self.skipped.get(str(reason), 0) + count

    def add(self, other: Changed) -> None:
        """Add what was done to others."""
        self.pks += other.pks
        for reason, count in other.skipped.items():
            self.skip(reason, count)


class Locked(NamedTuple):
    """Hold the columns of a locked event by which workers know what to do with it."""

    status: str
    coalesce_key: str | None
    lease_token: str | None

    @property
    def is_finished(self) -> bool:
        """Return whether nothing is left to do."""
        return self.status not in UNFINISHED


class OutboxEventQuerySet(models.QuerySet["OutboxEvent"]):
    """Find events of the outbox, and change their state."""

    def on_primary(self) -> Self:
        """Return the same events as the database sees them that events are written to."""
        return self.using(router.db_for_write(self.model))

    def unfinished(self) -> Self:
        """Return what has still to go out."""
        return self.filter(status__in=UNFINISHED)

    def due(self) -> Self:
        """Return what a worker has to look at now."""
        return self.filter(due_at__lte=UtcNow())

    def due_sometime(self) -> Self:
        """Return what a worker has to look at now or later."""
        # Not IS NOT NULL: analysed while nothing was due, SQLite reads every finished event for it.
        return self.filter(due_at__gt=EPOCH)

    def seconds_until_first_due(self) -> float | None:
        """Return how long until a worker has to look, below 0 since when it had to; None where nothing waits."""
        waiting = self.due_sometime().order_by("due_at").annotate(read_at=UtcNow())
        for due_at, read_at in waiting.values_list("due_at", "read_at")[:1]:
            return (due_at - read_at).total_seconds()  # type: ignore[operator]
        return None

    def of_contact(self, email: str) -> Self:
        """Return the events of one address, in whatever letter case it is written."""
        return self.filter(contact=contact_of(email))

    def insert(self, row: OutboxEvent) -> bool:
        """
        Insert one row, and return False where its idempotency key is there already.

        In one statement, since an error would break a transaction on PostgreSQL,
        and a savepoint costs more than the INSERT. Not by save(), which costs
        more too: the moments that the database's clock gives are read when they
        are asked for.
        """
        columns = [column for column in self.model._meta.concrete_fields if not column.primary_key]
        key: Any = self.model._meta.pk
        # Where there is a key, nothing may be inserted; without one, nothing may go wrong in silence.
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
        End what waits of the same contact and object as a row, was captured before it and has one of these names.

        What is being sent keeps its status and lease; its reason says that it
        ends instead of being put back.
        """
        older = self.filter(contact=row.contact, object_id=row.object_id, status__in=UNFINISHED, pk__lt=row.pk)
        older = older.filter(name__in=list(names))
        if connections[self.db].vendor == "mysql":
            older = self.with_status(UNFINISHED, list(older.values_list("pk", flat=True)))
        ending = cancelled(Reason.SUPERSEDED)
        reason = ending.pop("reason")
        older.update(reason=reason, **{name: _unless_sending(name, value) for name, value in ending.items()})

    def cancel(self, *, dry_run: bool = False) -> Changed:
        """
        End what is still pending; what is being sent goes on.

        The next events of the same contacts are freed by a worker after the
        caller's commit, so that the two cannot wait for each other.
        """
        result = Changed()
        events = self.model.objects.on_primary()
        for pks in in_batches(sorted(self.values_list("pk", flat=True))):
            chosen = []
            for pk, status in events.filter(pk__in=pks).values_list("pk", "status"):
                if status == Status.PENDING:
                    chosen.append(pk)
                else:
                    result.skip(SKIPPED_SENDING if status == Status.SENDING else SKIPPED_FINISHED)
            if not dry_run and events.with_status([Status.PENDING], chosen).update(**cancelled(Reason.OPERATOR)) < len(
                chosen
            ):
                # A worker was quicker with some of them.
                wanted = len(chosen)
                ended = events.filter(pk__in=chosen, status=Status.CANCELLED, reason=Reason.OPERATOR)
                chosen = list(ended.values_list("pk", flat=True))
                result.skip(SKIPPED_SENDING, wanted - len(chosen))
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
        Make finished events due again, from zero attempts; what was tried stays recorded.

        An event for which a newer one of the same contact and object exists is
        skipped, since a stale cart would be sent after its order; an expired
        one too. One that had expired does not expire again. The order of a contact's events may change by it.
        """
        result = Changed()
        outdated = has_like(self.model.objects.all(), pk__gt=models.OuterRef("pk"))
        expired = models.Q(reason=Reason.EXPIRED) | models.Q(expires_at__lte=UtcNow())
        events = self.model.objects.on_primary()
        for pks in in_batches(sorted(self.values_list("pk", flat=True))):
            chosen, taken_in = [], []
            found = events.filter(pk__in=pks).annotate(is_outdated=_holds(outdated), is_expired=_holds(expired))
            for pk, status, contact, is_outdated, is_expired in found.values_list(
                "pk", "status", "contact", "is_outdated", "is_expired"
            ):
                obstacles = {
                    SKIPPED_WAITING: status in UNFINISHED,
                    SKIPPED_ERASED: not contact,
                    SKIPPED_SENT: status == Status.SENT and not include_sent,
                    SKIPPED_OUTDATED: is_outdated and not include_outdated,
                    SKIPPED_EXPIRED: is_expired and not include_expired,
                }
                obstacle = next((reason for reason, is_there in obstacles.items() if is_there), None)
                if obstacle is None:
                    chosen.append(pk)
                    taken_in += [pk] if is_outdated else []
                else:
                    result.skip(obstacle)
            result.pks += chosen
            if not dry_run:
                # Taken in on purpose, an outdated one goes out as it is, and no newer one stands in for it.
                events.filter(pk__in=taken_in).update(coalesce_key=None)
                events.filter(pk__in=chosen).exclude(status__in=UNFINISHED).exclude(contact="").update(
                    status=Status.PENDING,
                    reason="",
                    attempts=0,
                    parked=False,
                    available_at=UtcNow(),
                    due_at=UtcNow(),
                    expires_at=models.Case(models.When(expired, then=None), default=models.F("expires_at")),
                    finished_at=None,
                )
        return result

    def with_status(self, statuses: Iterable[str], pks: list[int]) -> Self:
        """Return those of some events that are in one of these statuses, for an UPDATE that finds them by key."""
        # Lower() keeps MariaDB from finding them by the index of the status: then it deadlocks with workers.
        return self.filter(pk__in=pks).alias(state=Lower("status")).filter(state__in=list(statuses))

    def lock_free(self) -> Self:
        """Lock what nobody else holds, without waiting; SQLite has no such locks and needs none."""
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(skip_locked=features.has_select_for_update_skip_locked)

    def lock_by_key(self, pks: Iterable[int]) -> dict[int, Locked]:
        """Lock those of some events that nobody else holds, and return what steers their way."""
        # No index holds the token, so that MariaDB reads none but that of the keys: see keys_of_due().
        held = self.filter(pk__in=list(pks)).lock_free()
        steering = held.values_list("pk", "status", "coalesce_key", "lease_token")
        return {pk: Locked(status, key, token) for pk, status, key, token in steering}

    def keys_of_due(self, count: int) -> list[int] | None:
        """Return what has been due for longest and nobody holds, to be locked by key; None where that is not needed."""
        # MariaDB keeps hold of the index entries of rows that it skips, until the transaction ends. Two workers that
        # had skipped each other's rows would deadlock as soon as both write: so this transaction writes nothing.
        if connections[self.db].vendor != "mysql":
            return None
        with transaction.atomic(using=self.db, durable=True):
            oldest = self.due().order_by("due_at", "pk")
            return list(oldest.lock_free().values_list("pk", flat=True)[:count])

    def begin_writing(self) -> None:
        """Begin a transaction with a write, where that is what locks."""
        # SQLite gives up at once when a transaction that has read wants to write: so it writes first.
        if not connections[self.db].features.has_select_for_update:
            self.model.objects.using(self.db).filter(pk=0).update(parked=False)


def in_batches(pks: list[int]) -> Iterator[list[int]]:
    """Cut keys into lists that every database takes in one statement, and that lock few rows at a time."""
    for start in range(0, len(pks), BATCH):
        yield pks[start : start + BATCH]


def cancelled(reason: Reason) -> dict[str, Any]:
    """Return the columns of an event that a user ends."""
    # Due, for a worker to free what waits behind it: in the user's transaction that could deadlock.
    return {
        "status": Status.CANCELLED,
        "reason": reason,
        "parked": False,
        "lease_token": None,
        "due_at": UtcNow(),
        "finished_at": UtcNow(),
    }


def has_like(events: OutboxEventQuerySet, **which: Any) -> models.Q:
    """Return whether, of these events, there is one of the same contact and object, or of the same coalesce key."""
    alike = (("contact", "object_id"), ("coalesce_key",))
    of_object, of_key = (
        models.Exists(events.filter(**{name: models.OuterRef(name) for name in names}, **which)) for names in alike
    )
    return models.Q(of_object) | models.Q(of_key)


def _unless_sending(column: str, value: Any) -> models.Case:
    otherwise = value if hasattr(value, "resolve_expression") else models.Value(value)
    return models.Case(models.When(status=Status.SENDING, then=models.F(column)), default=otherwise)


def _holds(condition: models.Q) -> models.Case:
    return models.Case(models.When(condition, then=True), default=False, output_field=models.BooleanField())
