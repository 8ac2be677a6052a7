from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from brevo_events.health import state, take_pulse
from brevo_events.management.arguments import moment, positive
from brevo_events.management.outbox import OutboxCommand
from brevo_events.models import Gate

MAX_MINUTES = 366 * 24 * 60


class Command(OutboxCommand):
    help = (
        "Pause delivery, during a deployment for instance. Events are still captured, and wait until "
        "resume_brevo_delivery, or until the given end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", metavar="TEXT", help="Shown in the admin.")
        end = parser.add_mutually_exclusive_group()
        end.add_argument("--minutes", type=positive, metavar="N", help="End the pause after N minutes.")
        end.add_argument("--until", type=moment, metavar="T", help="End the pause at this time (ISO 8601).")

    def handle(self, *args: Any, reason: str, minutes: int | None, until: datetime | None, **options: Any) -> None:
        if until is not None and until <= timezone.now():
            raise CommandError("--until is in the past.")
        if minutes is not None and minutes > MAX_MINUTES:
            raise CommandError(f"--minutes is {MAX_MINUTES} at most: give no end, and resume by resume_brevo_delivery.")
        Gate.load().pause(reason=reason, until=timedelta(minutes=minutes) if minutes else until)
        now = state(take_pulse())
        self.stdout.write(f"{now.title} {now.advice}")
