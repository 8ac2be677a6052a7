"""A simulation of Brevo's automation: the reminder it would send, given the requests that reached the stand-in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from brevo_events.commerce import CART_DELETED, CART_UPDATED, ORDER_COMPLETED
from brevo_events.testing import ReceivedRequest

DELAY = 40  # seconds; a real automation waits for an hour or a day


@dataclass(frozen=True)
class Reminder:
    """
    The reminder about one cart; times are those of ``time.monotonic()``.

    ``due_at`` is None if the cart had been ordered or emptied before Brevo
    heard of it.
    """

    due_at: float | None = None
    items: tuple[str, ...] = ()
    ended_by: str = ""
    ended_at: float = 0.0

    def state(self, now: float) -> str:
        """The state of the reminder: waiting, sent, or why there is none."""
        end = self.ended_at if self.ended_by else now
        if self.due_at is not None and end >= self.due_at:
            return "sent"
        return {ORDER_COMPLETED: "ordered", CART_DELETED: "emptied"}.get(self.ended_by, "waiting")


def reminder_of(email: str, requests: Iterable[ReceivedRequest]) -> Reminder | None:
    """Return the reminder about the contact's cart of which Brevo heard last."""
    carts: dict[str | None, Reminder] = {}
    for request in requests:
        if not (request.status and 200 <= request.status < 300):
            continue
        body = request.json
        if not isinstance(body, dict) or str(body.get("email")).lower() != email.lower():
            continue
        content = body.get("eventdata", {})
        known = carts.pop(content.get("id"), Reminder())
        if body.get("event") == CART_UPDATED:
            # Each report of the cart restarts the automation's delay.
            items = tuple(str(item["name"]) for item in content["data"]["items"])
            carts[content["id"]] = Reminder(request.received_at + DELAY, items)
        elif body.get("event") in (ORDER_COMPLETED, CART_DELETED):
            carts[content["id"]] = replace(known, ended_by=body["event"], ended_at=request.received_at)
    return list(carts.values())[-1] if carts else None
