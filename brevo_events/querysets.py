from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from django.db import models, router
from django.utils.translation import gettext_lazy as _

from brevo_events.choices import UNFINISHED, Status
from brevo_events.columns import UtcNow
from brevo_events.events import contact_of

if TYPE_CHECKING:
    from brevo_events.models import OutboxEvent  # noqa: F401 - the base class below names it

BATCH = 500

SKIPPED_WAITING = _("still waiting or being sent")
SKIPPED_SENT = _("already sent")
SKIPPED_OUTDATED = _("a newer event of the same contact and object exists")


@dataclass(slots=True)
class Resent:
    """Hold the keys of the events that were made due again, and how many were skipped for which reason."""

    pks: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: object) -> None:
        """Count one event that stays as it is."""
        self.skipped[str(reason)] = self.skipped.get(str(reason), 0) + 1


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

    def seconds_until_first_due(self) -> float | None:
        """Return how long until a worker has to look, below 0 since when it had to; None where nothing waits."""
        # Not exclude(): of NOT (… IS NULL), SQLite reads every finished event first.
        waiting = self.filter(due_at__isnull=False).order_by("due_at").annotate(read_at=UtcNow())
        for due_at, read_at in waiting.values_list("due_at", "read_at")[:1]:
            return (due_at - read_at).total_seconds()  # type: ignore[operator]
        return None

    def of_contact(self, email: str) -> Self:
        """Return the events of one address, in whatever letter case it is written."""
        return self.filter(contact=contact_of(email))

    def resend(self, *, include_sent: bool = False, include_outdated: bool = False, dry_run: bool = False) -> Resent:
        """
        Make finished events due again, from zero attempts; what was tried stays recorded.

        An event for which a newer one of the same contact and object exists is
        skipped, since a stale cart would be sent after its order. The order of
        a contact's events may change by a resend.
        """
        result = Resent()
        newer = self.model.objects.filter(
            contact=models.OuterRef("contact"), object_id=models.OuterRef("object_id"), pk__gt=models.OuterRef("pk")
        )
        events = self.model.objects.on_primary()
        for pks in in_batches(list(self.values_list("pk", flat=True))):
            chosen = []
            for pk, status, is_outdated in (
                events.filter(pk__in=pks)
                .annotate(is_outdated=models.Exists(newer))
                .values_list("pk", "status", "is_outdated")
            ):
                if status in UNFINISHED:
                    result.skip(SKIPPED_WAITING)
                elif status == Status.SENT and not include_sent:
                    result.skip(SKIPPED_SENT)
                elif is_outdated and not include_outdated:
                    result.skip(SKIPPED_OUTDATED)
                else:
                    chosen.append(pk)
            result.pks += chosen
            if not dry_run:
                events.filter(pk__in=chosen).exclude(status__in=UNFINISHED).update(
                    status=Status.PENDING, reason="", attempts=0, parked=False, due_at=UtcNow(), finished_at=None
                )
        return result


def in_batches(pks: list[int]) -> Iterator[list[int]]:
    """Cut keys into lists that every database takes in one statement, and that lock few rows at a time."""
    for start in range(0, len(pks), BATCH):
        yield pks[start : start + BATCH]
