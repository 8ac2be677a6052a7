from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from brevo_events.choices import Status
from brevo_events.models import OutboxEvent
from brevo_events.search import is_named_by
from brevo_events.times import between, moment_at


def finding(events: Sequence[OutboxEvent], term: str) -> str:
    """Return the answer to a search for an order: when Brevo got it, and how long after the previous event."""
    order = next((event for event in events if is_named_by(event, term)), None)
    if order is None or order.status != Status.SENT or order.finished_at is None:
        return ""
    known = {"event": order, "when": moment_at(order.finished_at)}
    before = _accepted_before(order, events)
    if before is None or before.finished_at is None:
        return _("Brevo accepted %(event)s %(when)s.") % known
    known |= {"gap": between(before.finished_at, order.finished_at), "before": before}
    return _("Brevo accepted %(event)s %(when)s, %(gap)s after %(before)s.") % known


def _accepted_before(order: OutboxEvent, events: Sequence[OutboxEvent]) -> OutboxEvent | None:
    ended = order.finished_at
    accepted = [event for event in events if event.status == Status.SENT and event.finished_at and event.pk != order.pk]
    earlier = [event for event in accepted if ended and event.finished_at and event.finished_at <= ended]
    return max(earlier, key=lambda event: (event.finished_at, event.pk), default=None)
