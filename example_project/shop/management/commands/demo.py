from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from brevo_events.admin.event.answer import state_word
from brevo_events.delivery import deliver
from brevo_events.management.printable import printable
from brevo_events.models import Gate, OutboxEvent, Status
from brevo_events.querysets import OutboxEventQuerySet
from brevo_events.testing import FakeBrevo, Reply
from shop.stage.brevo import fake_brevo, has_real_key
from shop.stage.visitor import Visitor

PATIENCE = 30  # seconds


class Command(BaseCommand):
    help = "Shop through the pages, deliver the events over HTTP, and show what Brevo answered."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", help="With a real key: the address of the contact whose cart is reported.")

    def handle(self, *args: Any, email: str | None, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        last = OutboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        events = OutboxEvent.objects.filter(pk__gt=last).order_by("pk")
        if has_real_key():
            self._shop_for_real(email or self._asked_address(), events)
        else:
            self._shop_with_a_fake(events)
        self._show(events)
        self.stdout.write("\nOpen the shop: `make shop`, then http://127.0.0.1:8000/; it prints a link into the admin.")

    def _shop_with_a_fake(self, events: OutboxEventQuerySet) -> None:
        self.stdout.write("BREVO_MA_KEY is not set: the events go to a fake Brevo on loopback, over real HTTP.\n")
        # The engine that leaves sending to a worker, so that everyone has shopped before anything is sent.
        with fake_brevo(ENGINE="worker", RETRY_BACKOFF=1) as brevo:
            self._plan_trouble(brevo)
            ada, bob, cleo = Visitor(), Visitor(), Visitor()
            self._say("Ada signs in, which identifies her, fills her cart and pays: a reminder would be pointless.")
            ada.sign_in("Ada", "ada@example.com")
            ada.add("minuit-watch")
            ada.add("brume-mug", 2)
            ada.change("brume-mug", 1)
            ada.check_out()
            self._say("Bob, whose address Brevo does not like, fills his cart.")
            bob.sign_in("Bob", "bob@blocked.example")
            bob.add("marelle-notebook", 3)
            self._say("Cleo fills her cart, and leaves: Brevo is told once, with the last content.")
            cleo.sign_in("Cleo", "cleo@example.com")
            cleo.add("calanque-shirt")
            cleo.add("colibri-teapot")
            cleo.change("calanque-shirt", 2)
            self._say("What had to wait is sent now …")
            self._deliver_until(lambda: not events.unfinished().exists())

    def _plan_trouble(self, brevo: FakeBrevo) -> None:
        numbers = count()
        brevo.when(
            lambda body: body["email"] == "ada@example.com" and next(numbers) == 0,
            Reply.error(500, "internal_error", "Something went wrong on our side"),
        )
        brevo.when(
            lambda body: body["email"] == "bob@blocked.example",
            Reply.error(400, "invalid_parameter", "Contact is blocklisted"),
            repeat=True,
        )

    def _shop_for_real(self, email: str, events: OutboxEventQuerySet) -> None:
        if waiting := OutboxEvent.objects.unfinished().count():
            raise CommandError(
                f"{waiting} older events wait in this database and would go out to the real account too. "
                "Delete example_project/db.sqlite3, or set DATABASE_URL to another database."
            )
        self.stdout.write(
            f"BREVO_MA_KEY is set: a contact and a cart go to {settings.BREVO_EVENTS.get('URL', 'Brevo')}.\n"
        )
        visitor = Visitor()
        visitor.sign_in("Ada", email)
        visitor.add("minuit-watch")
        self._deliver_until(lambda: not events.unfinished().exists() or not Gate.load().is_open)

    def _asked_address(self) -> str:
        if not sys.stdin.isatty():
            raise CommandError("BREVO_MA_KEY is set: say whose cart to report, make demo EMAIL=you@example.com")
        return input("BREVO_MA_KEY is set. Report a cart of which contact? E-mail address: ").strip()

    def _deliver_until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_done():
            deliver()
            if time.monotonic() > deadline:
                raise CommandError("Some events are still waiting: run the demo again.")
            time.sleep(0.2)

    def _show(self, events: OutboxEventQuerySet) -> None:
        rows = [("", "event", "contact", "object", "status", "answers", "why")]
        for event in events.prefetch_related("send_attempts"):
            attempts = sorted(event.send_attempts.all(), key=lambda attempt: attempt.pk)
            answers = ", ".join(str(attempt.response_code or attempt.error) for attempt in attempts)
            message = next((f"{a.error}: {a.message}" for a in reversed(attempts) if a.error), "")
            message = str(event.get_reason_display()) if event.status == Status.CANCELLED else message
            row = (f"#{event.pk}", event.name, event.email, event.object_id or "", state_word(event))
            rows.append(tuple(printable(cell) for cell in (*row, answers, message)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        self.stdout.write("")
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _say(self, text: str) -> None:
        self.stdout.write(f"- {text}")
