"""What an action would do, as shown on its confirmation page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.functional import Promise

from brevo_events.actions import Action
from brevo_events.addresses import masked
from brevo_events.querysets import Changed, OutboxEventQuerySet, in_batches


@dataclass(frozen=True, slots=True)
class LeftOut:
    """
    Events that are skipped for one reason, or would be without a ticked box.

    ``total`` is how many events the action would change if this box were ticked
    as well. It is None if that would add none, because each of them is also
    skipped for another reason.
    """

    reason: str
    count: int = 0
    box: str = ""
    label: str | Promise = ""
    is_ticked: bool = False
    total: int | None = None


@dataclass(slots=True)
class Described:
    """The number of events by name, their contacts, and when the first was captured."""

    names: Counter[str] = field(default_factory=Counter)
    contacts: dict[str, str] = field(default_factory=dict)
    oldest: datetime | None = None

    def addresses(self, *, shows_contact: bool) -> list[str]:
        """Return the contacts' addresses, masked if need be."""
        return [email if shows_contact else masked(email) for email in self.contacts.values()]


def left_out(action: Action, changed: Changed, ticked: dict[str, bool]) -> list[LeftOut]:
    """Return each reason once, with the box that includes its events, if there is one."""
    boxes = {str(reason): (name, label) for name, (reason, label) in action.options.items()}
    alone = Counter(against[0] for against in changed.obstacles.values() if len(against) == 1)
    found = []
    for reason, count in changed.skipped.items():
        name, label = boxes.get(reason, ("", ""))
        total = len(changed.pks) + alone[reason] if name and alone[reason] else None
        found.append(LeftOut(reason, count, name, label, total=total))
    ticked_ones = [(name, each) for name, each in action.options.items() if name in ticked]
    return found + [
        LeftOut(str(reason), box=name, label=label, is_ticked=True) for name, (reason, label) in ticked_ones
    ]


def described(events: OutboxEventQuerySet, pks: list[int]) -> Described:
    """Read names, contacts and capture times of these events."""
    about = Described()
    for batch in in_batches(pks):
        rows: Any = events.filter(pk__in=batch).values_list("name", "contact", "email", "created_at")
        for name, contact, email, captured_at in rows:
            about.names[name] += 1
            if contact:
                about.contacts[contact] = email
            about.oldest = min(about.oldest or captured_at, captured_at)
    return about
