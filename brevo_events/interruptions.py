"""What became of the events that waited while delivery was on hold or paused."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from brevo_events.choices import FINISHED, InterruptionKind, Reason, Status
from brevo_events.journal import Interruption
from brevo_events.models import UNFINISHED_LIMIT, OutboxEvent

SHOWN = 20
COUNTED_AT_ONCE = 3  # interruptions counted for one page; each takes five statements
SCANNED = 10_000  # events of a status that ended since it began
SETTLES_AFTER = timedelta(days=1)  # from then on, superseded events may be pruned
UNSETTLED = 1000  # interruptions that one call of settle() handles


def recent(limit: int = SHOWN) -> list[Interruption]:
    """
    Return the newest interruptions, newest first, each with its outcome as far as it is known.

    The outcome of a past interruption is counted each time until none of its
    events is waiting any more, or until a day has passed; then it is kept.
    """
    found = list(Interruption.objects.order_by("-pk")[:limit])
    for interruption in [each for each in found if each.is_over and not each.is_settled][:COUNTED_AT_ONCE]:
        count(interruption)
    return found


def settle(*, before: datetime) -> None:
    """Count outcomes before events that ended before ``before`` are deleted; for the last time, if need be."""
    for interruption in Interruption.objects.filter(is_settled=False).order_by("-pk")[:UNSETTLED]:
        if interruption.is_over:
            count(interruption, is_final=interruption.began_at < before)


def count(interruption: Interruption, *, is_final: bool = False) -> None:
    """Count what became of the events that waited during a past interruption, and store it."""
    before = _outcome(interruption)
    ended: Any = interruption.ended_at
    left, found = _unfinished(ended)
    counts = {status: _ended(status, interruption) for status in FINISHED}
    found += sum(each["found"] for each in counts.values())
    interruption.sent = counts[Status.SENT]["waited"]
    interruption.failed = counts[Status.FAILED]["waited"]
    interruption.superseded = counts[Status.CANCELLED]["superseded"]
    interruption.cancelled = counts[Status.CANCELLED]["waited"] - counts[Status.CANCELLED]["superseded"]
    interruption.left = left
    if interruption.unfinished is not None and interruption.unfinished < UNFINISHED_LIMIT:
        interruption.lost = max(interruption.unfinished - found, 0)
    interruption.is_settled = left == 0 or is_final or timezone.now() - ended > SETTLES_AFTER
    if _outcome(interruption) != before:
        interruption.save(update_fields=OUTCOME)


OUTCOME = ["sent", "superseded", "cancelled", "failed", "left", "lost", "is_settled"]


def _outcome(interruption: Interruption) -> list[Any]:
    return [getattr(interruption, name) for name in OUTCOME]


def _unfinished(ended: Any) -> tuple[int, int]:
    """Return how many events from before its end still wait, and how many are unfinished, including delayed ones."""
    waiting = OutboxEvent.objects.due_sometime().unfinished().order_by("due_at")[:UNFINISHED_LIMIT]
    waited = Q(available_at__lte=ended)
    counts = waiting.aggregate(left=Count("pk", filter=waited), found=Count("pk", filter=Q(created_at__lte=ended)))
    return counts["left"], counts["found"]


def _ended(status: str, interruption: Interruption) -> dict[str, int]:
    began: Any = interruption.began_at
    ended: Any = interruption.ended_at
    # During a pause, only events already in flight are sent; a hold ends with the first event that is sent.
    since = ended if status == Status.SENT and interruption.kind == InterruptionKind.PAUSE else began
    ends = OutboxEvent.objects.filter(status=status, finished_at__gte=since, finished_at__lt=ended + SETTLES_AFTER)
    waited = Q(available_at__lte=ended)
    return ends.order_by("finished_at")[:SCANNED].aggregate(
        waited=Count("pk", filter=waited),
        superseded=Count("pk", filter=waited & Q(reason=Reason.SUPERSEDED)),
        found=Count("pk", filter=Q(created_at__lte=ended, finished_at__gte=ended)),
    )
