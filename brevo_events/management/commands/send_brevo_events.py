from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events.choices import Status
from brevo_events.delivery import Delivered, deliver
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import positive
from brevo_events.models import Gate


class Command(BaseCommand):
    help = "Send what is due to Brevo, once: for cron. Exits with 1 if a fault holds sending back at the end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=positive, metavar="N", help="Send at most N events.")

    def handle(self, *args: Any, limit: int | None, **options: Any) -> None:
        try:
            delivered = deliver(limit=limit)
        except InvalidSetting as error:
            raise CommandError(str(error)) from error
        if options["verbosity"] > 0:
            self.stdout.write(summary(delivered))
        gate = Gate.load()
        if gate.is_closed:
            self.stderr.write(
                _("Sending is held back: %(reason)s (response code %(code)s). Next probe: %(until)s.")
                % {
                    "reason": gate.get_reason_display(),
                    "code": gate.response_code,
                    "until": f"{gate.closed_until:%F %T %Z}",
                }
            )
            sys.exit(1)


def summary(delivered: Delivered) -> str:
    """Return one line that says what became of the events."""
    if not delivered:
        return _("Nothing was due.")
    return ", ".join(f"{Status(status).label}: {count}" for status, count in sorted(delivered.items()))
