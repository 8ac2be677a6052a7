from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from brevo_events.addresses import contact_hash
from brevo_events.encoding import encode
from brevo_events.models import OutboxEvent
from brevo_events.testing.captured import capture_events

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object


class Expected(TypedDict, total=False):
    """What an assertion compares in addition to the name and the address."""

    object_id: str | None
    data: Mapping[str, Any] | None
    properties: Mapping[str, Any] | None


class BrevoEventsTestMixin(TestCase):
    """Assertions about captured events: ``class CartTests(BrevoEventsTestMixin, TestCase)``, the mixin first."""

    _captured: list[OutboxEvent] | None = None

    def setUp(self) -> None:
        super().setUp()
        self._captured = self.enterContext(capture_events())

    @property
    def brevo_events(self) -> list[OutboxEvent]:
        """The events captured by the test."""
        if self._captured is None:
            raise RuntimeError("BrevoEventsTestMixin stands before TestCase, and setUp() calls super().setUp().")
        return self._captured

    def assertEventTracked(  # noqa: N802
        self, name: str, email: str | None = None, **expected: Unpack[Expected]
    ) -> OutboxEvent:
        """
        Fail unless an event of that name was captured, and return the last one that matches.

        ``expected`` may contain ``object_id``, ``data`` and ``properties``.
        They are compared as a whole, and as JSON, even dates and Decimals. To
        check part of ``data``, use the returned event. Addresses are compared
        as contacts are. Events that were rolled back don't count as captured.
        """
        if unknown := sorted(set(expected) - set(Expected.__annotations__)):
            raise TypeError(f"assertEventTracked() compares object_id, data and properties, not {unknown[0]}.")
        captured = _kept(self.brevo_events)
        matching = [event for event in captured if _matches(event, name, email, expected)]
        if not matching:
            self.fail(f"No event was captured like: {_wanted(name, email, expected)}.\n{_listing(captured)}")
        return matching[-1]

    def assertNoEventTracked(self, name: str | None = None, email: str | None = None) -> None:  # noqa: N802
        """Fail if an event was captured and not rolled back; with that name and address, if given."""
        matching = [event for event in _kept(self.brevo_events) if _matches(event, name, email, {})]
        if matching:
            self.fail(f"Expected no such event: {_wanted(name, email, {}) or 'any'}.\n{_listing(matching)}")


def _kept(events: list[OutboxEvent]) -> list[OutboxEvent]:
    if not events:
        return []
    stored = OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).values_list(
        "pk", "name", "contact", "body"
    )
    # SQLite reuses the key of a row that was rolled back, and an erased event has no body.
    bodies = {(pk, name): body if contact else None for pk, name, contact, body in stored}
    return [event for event in events if bodies.get((event.pk, event.name), "") in (None, event.body)]


def _matches(event: OutboxEvent, name: str | None, email: str | None, expected: Mapping[str, Any]) -> bool:
    if name is not None and event.name != name:
        return False
    if email is not None and event.contact != contact_hash(email):
        return False
    return all(getattr(event, key) == encode(value, key) for key, value in expected.items())


def _wanted(name: str | None, email: str | None, expected: Mapping[str, Any]) -> str:
    return ", ".join([*filter(None, (name, email)), *(f"{key}={value!r}" for key, value in expected.items())])


def _listing(events: list[OutboxEvent]) -> str:
    if not events:
        return "Captured: nothing."
    lines = [f"  {event.name} {event.email} object_id={event.object_id!r} data={event.data!r}" for event in events]
    return "\n".join(["Captured:", *lines])
