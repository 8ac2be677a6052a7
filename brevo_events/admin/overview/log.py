"""The log of holds and pauses on the overview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from brevo_events.choices import InterruptionKind
from brevo_events.health import outcome
from brevo_events.interruptions import SHOWN
from brevo_events.journal import Interruption
from brevo_events.times import exactly, rough_length


class LogRow(NamedTuple):
    """An interruption: when it began, and what became of it as a sentence."""

    interruption: Interruption
    since: str
    told: str


def log_rows(interruptions: Sequence[Interruption]) -> list[LogRow]:
    """Return a row for each of the newest interruptions."""
    return [LogRow(each, exactly(each.began_at), told(each)) for each in interruptions[:SHOWN]]


def told(interruption: Interruption) -> str:
    """Return how long it lasted and what became of its events: on hold for 1 h 10 min: 66 waited, 66 sent, 0 lost."""
    texts = {
        (InterruptionKind.HOLD, True): _("On hold for %s"),
        (InterruptionKind.HOLD, False): _("On hold for %s so far"),
        (InterruptionKind.PAUSE, True): _("Paused for %s"),
        (InterruptionKind.PAUSE, False): _("Paused for %s so far"),
    }
    lasted = texts[InterruptionKind(interruption.kind), interruption.is_over] % rough_length(interruption.seconds)
    became = outcome(interruption)
    return _("%(lasted)s: %(outcome)s") % {"lasted": lasted, "outcome": became} if became else lasted
