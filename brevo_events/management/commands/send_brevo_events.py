from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import transports
from brevo_events.choices import Status
from brevo_events.delivery import Delivered
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
        parser.add_argument("--limit", type=positive, metavar="N", help="Send at most N events, and end.")
        parser.add_argument(
            "--concurrency", type=positive, metavar="N", help="Requests in flight, instead of CONCURRENCY."
        )
        parser.add_argument("--max-runtime", type=positive, metavar="S", help="End after S seconds.")

    def handle(self, *args: Any, loop: bool, verbosity: int, **options: Any) -> None:
        try:
            transports.current()
            delivered = self._work(loop, options)
        except InvalidSetting as error:
            raise CommandError(str(error)) from error
        if verbosity > 0:
            self.stdout.write(summary(delivered))
        self._exit_as_the_gate_is(Gate.load())

    def _work(self, loop: bool, options: dict[str, Any]) -> Delivered:
        worker = Worker(concurrency=options["concurrency"], limit=options["limit"])
        with stopped_by_signals(worker):
            work = worker.run if loop else worker.run_once
            work(max_runtime=options["max_runtime"])
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


@contextmanager
def stopped_by_signals(worker: Worker) -> Iterator[None]:
    """Stop the worker at the first SIGTERM or SIGINT; a second one ends the process as it always does."""
    former: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        worker.stop()
        restore()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()


def summary(delivered: Delivered) -> str:
    """Return one line that says what became of the events."""
    if not delivered:
        return _("Nothing was due.")
    return ", ".join(f"{Status(status).label}: {count}" for status, count in sorted(delivered.items()))
