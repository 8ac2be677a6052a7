"""
Everything that has to be right for a mail to be sent, here and at Brevo, as a list of findings.

The command and the admin get the same checks in the same order. For the sources
of what is said about Brevo, see docs/setup.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from brevo_events.doctor import checklist, here, there
from brevo_events.doctor.findings import Finding, Outcome

__all__ = ["EVENT", "Finding", "Outcome", "examine"]

EVENT = there.EVENT


def examine(email: str | None = None, *, calls: bool = True) -> Iterator[Finding]:
    """
    Yield the findings, check by check.

    With ``calls``, it connects to Brevo, and reads the account if ``API_KEY``
    is set. With an address as well, it makes one real ``identify`` call and
    sends one real event for that contact, bypassing the outbox, and looks the
    contact up. Takes up to half a minute if Brevo is slow. Call it outside any
    transaction.
    """
    yield (settings := here.settings_and_checks())
    yield (tables := here.migrations())
    yield (key := here.key())
    yield from here.delivery(has_tables=tables.outcome == Outcome.GOOD)
    yield from there.look(email, [settings], key) if calls else there.untried()
    yield from checklist.items()
