from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from brevo_events.answers import Answer
from brevo_events.clock import boottime
from brevo_events.models import Gate, OutboxEvent

GRACE = 1.0  # seconds beyond the deadline that a transport may take to cut off an attempt by itself


@dataclass(eq=False, slots=True)
class Attempt:
    """
    One claimed event on its way through its request.

    ``gate`` is as it was at the claim; ``leased_until``, ``start_before`` and
    ``began`` are times of ``boottime()``; ``was_due_at`` is as the database
    returned it. ``answer`` stays None if no request was made: ``is_refused`` if
    the contact doesn't consent, ``is_postponed`` if the project's ``CONSENT``
    couldn't be called. ``may_become_obsolete`` if the event coalesces or
    expires. ``is_disregarded`` if its answer should have closed the gate, which
    was locked: the event isn't to be blamed for it.
    """

    event: OutboxEvent
    gate: Gate
    leased_until: float
    answer: Answer | None = None
    was_due_at: Any = None
    start_before: float = math.inf
    may_become_obsolete: bool = False
    began: float | None = None
    is_abandoned: bool = False
    is_refused: bool = False
    is_postponed: bool = False
    is_disregarded: bool = False
    is_recorded: bool = False

    @property
    def is_probe(self) -> bool:
        """Whether this request tests if the gate can open."""
        return self.gate.is_closed

    @property
    def age(self) -> float:
        """Seconds since the request began."""
        return 0.0 if self.began is None else boottime() - self.began
