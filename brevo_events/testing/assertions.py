from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brevo_events.encoding import encode
from brevo_events.events import contact_of
from brevo_events.models import OutboxEvent
from brevo_events.testing.captured import capture_events

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object


class BrevoEventsTestMixin(TestCase):
    """Add assertions about captured events to a test case; ``self.brevo_events`` is the list of them."""

    brevo_events: list[OutboxEvent]

    def setUp(self) -> None:
        super().setUp()
        self.brevo_events = self.enterContext(capture_events())

    def assertEventTracked(self, name: str, email: str | None = None, **expected: Any) -> OutboxEvent:  # noqa: N802
        """
        Fail unless an event of that name was captured, and return the last one that matches.

        ``expected`` may hold ``object_id``, ``data`` and ``properties``, compared
        as a whole and as JSON has them, dates and Decimals too; the address is
        compared as contacts are.
        """
        matching = [event for event in self.brevo_events if _matches(event, name, email, expected)]
        if not matching:
            wanted = ", ".join(
                [name, *([email] if email else []), *(f"{key}={value!r}" for key, value in expected.items())]
            )
            self.fail(f"No event was captured like: {wanted}.\n{_listing(self.brevo_events)}")
        return matching[-1]

    def assertNoEventTracked(self, name: str | None = None, email: str | None = None) -> None:  # noqa: N802
        """Fail if an event was captured, of that name and address where they are given."""
        matching = [event for event in self.brevo_events if _matches(event, name, email, {})]
        if matching:
            self.fail(f"Expected no such event.\n{_listing(matching)}")


def _matches(event: OutboxEvent, name: str | None, email: str | None, expected: dict[str, Any]) -> bool:
    if name is not None and event.name != name:
        return False
    if email is not None and event.contact != contact_of(email):
        return False
    return all(getattr(event, key) == encode(value, key) for key, value in expected.items())


def _listing(events: list[OutboxEvent]) -> str:
    if not events:
        return "Captured: nothing."
    lines = [f"  {event.name} {event.email} object_id={event.object_id!r} data={event.data!r}" for event in events]
    return "\n".join(["Captured:", *lines])
