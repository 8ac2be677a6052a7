from __future__ import annotations

import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import transports
from brevo_events.choices import Status
from brevo_events.delivery import Delivered, deliver
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import positive
from brevo_events.models import Gate
from brevo_events.worker import Worker


class Command(BaseCommand):
    help = (
        "Send what is due to Brevo: once, for cron, or with --loop as a process of its own. SIGTERM and SIGINT let it "
        "finish what is in flight and give back the rest. Exits with 1 if a fault holds sending back at the end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--loop", action="store_true", help="Go on, and look every second whether something is due."
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="Send at most N events; not with --loop.")
        parser.add_argument(
            "--concurrency", type=positive, metavar="N", help="Requests in flight, instead of CONCURRENCY."
        )
        parser.add_argument("--max-runtime", type=positive, metavar="S", help="With --loop: end after S seconds.")

    def handle(self, *args: Any, loop: bool, verbosity: int, **options: Any) -> None:
        if loop and options["limit"]:
            raise CommandError("--limit is for a single pass: leave out --loop.")
        if options["max_runtime"] and not loop:
            raise CommandError("--max-runtime is for --loop.")
        try:
            transports.current()
            delivered = (
                self._work(options) if loop else deliver(limit=options["limit"], concurrency=options["concurrency"])
            )
        except InvalidSetting as error:
            raise CommandError(str(error)) from error
        if verbosity > 0:
            self.stdout.write(summary(delivered))
        self._exit_as_the_gate_is(Gate.load())

    def _work(self, options: dict[str, Any]) -> Delivered:
        worker = Worker(concurrency=options["concurrency"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run(max_runtime=options["max_runtime"])
        return worker.delivered

    def _exit_as_the_gate_is(self, gate: Gate) -> None:
        if gate.is_paused:
            self.stderr.write(_("Sending is paused by an operator."))
        elif gate.is_closed:
            told = {
                "reason": gate.get_reason_display(),
                "code": gate.response_code,
                "until": f"{gate.closed_until:%Y-%m-%d %H:%M:%S %Z}",
            }
            self.stderr.write(
                _("Sending is held back: %(reason)s (response code %(code)s). Next probe: %(until)s.") % told
            )
            sys.exit(1)


def summary(delivered: Delivered) -> str:
    """Return one line that says what became of the events."""
    if not delivered:
        return _("Nothing was due.")
    return ", ".join(f"{Status(status).label}: {count}" for status, count in sorted(delivered.items()))
