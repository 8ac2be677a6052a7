from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import transports
from brevo_events.choices import Status
from brevo_events.connections import owned_connections
from brevo_events.delivery import Delivered
from brevo_events.delivery.observers import Observers
from brevo_events.heartbeats import LOOP
from brevo_events.management.arguments import concurrency, positive
from brevo_events.management.guard import ended_if_hung, stopped_by_signals
from brevo_events.management.liveness import LivenessFile
from brevo_events.management.outbox import OutboxCommand
from brevo_events.models import Gate
from brevo_events.worker import Worker


class Command(OutboxCommand):
    help = (
        "Send due events to Brevo: once, for cron, or with --loop as a separate process. On SIGTERM or SIGINT, it "
        "finishes the requests in flight and gives back the other events. Exits with 1 if a fault has put delivery on "
        "hold at the end, and with 3 if it hung."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--loop", action="store_true", help="Keep running, and look for due events every POLL_SECONDS."
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="Stop after N events.")
        parser.add_argument(
            "--concurrency", type=concurrency, metavar="N", help="Requests in flight; overrides CONCURRENCY."
        )
        parser.add_argument(
            "--try-now", action="store_true", help="If delivery is on hold, end the cool-down and try at once."
        )
        parser.add_argument("--max-runtime", type=positive, metavar="S", help="Stop after S seconds.")
        parser.add_argument(
            "--liveness-file", metavar="PATH", help="Touch this file in every round, for a liveness probe."
        )

    def handle(self, *args: Any, loop: bool, verbosity: int, **options: Any) -> None:
        transports.current()
        show_life = _touching(options["liveness_file"])
        if options["try_now"]:
            Gate.load().try_now()
        delivered, gate = self._work(loop, options, show_life)
        if verbosity > 0:
            self.stdout.write(summary(delivered))
        self._exit_as_the_gate_is(gate)

    def _work(
        self, loop: bool, options: dict[str, Any], show_life: Callable[[], None] | None
    ) -> tuple[Delivered, Gate]:
        # A loop calls observers in a separate thread, because one that hangs would outlast the leases.
        observers = Observers() if loop else None
        notify = observers or operator.call
        worker = Worker(
            engine=LOOP if loop else "single pass",
            concurrency=options["concurrency"],
            limit=options["limit"],
            notify=notify,
            show_life=show_life,
        )
        with ExitStack() as stack:
            if getattr(self, "_called_from_command_line", False):  # otherwise the process belongs to another program
                stack.enter_context(ended_if_hung(worker))
            stack.enter_context(owned_connections())
            with stopped_by_signals(worker):
                work = worker.run if loop else worker.run_once
                work(max_runtime=options["max_runtime"])
            if observers:
                observers.finish()
            return worker.delivered, Gate.load()

    def _exit_as_the_gate_is(self, gate: Gate) -> None:
        if gate.is_paused:
            self.stderr.write(_("Delivery is paused by an operator."))
        elif gate.is_closed:
            told = {"cause": gate.cause, "until": f"{gate.closed_until:%Y-%m-%d %H:%M:%S %Z}"}
            self.stderr.write(_("Delivery is on hold: %(cause)s. The next try is at %(until)s.") % told)
            sys.exit(1)


def _touching(path: str | None) -> Callable[[], None] | None:
    """Return what touches the liveness file, if there is to be one."""
    if path is None:
        return None
    liveness = LivenessFile(path)
    try:
        liveness.create()
    except OSError as error:
        raise CommandError(_("The liveness file can't be written: %s") % error) from error
    return liveness.touch


def summary(delivered: Delivered) -> str:
    """Return one line that says what happened to the events."""
    if not delivered:
        return _("Nothing was due.")
    return ", ".join(f"{Status(status).label}: {count}" for status, count in sorted(delivered.items()))
