from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from brevo_events import transports
from brevo_events.conf import settings
from brevo_events.events import Event, readdressed
from brevo_events.exceptions import BrevoEventsError
from brevo_events.retry import meaning


class Command(BaseCommand):
    help = "Send one event to Brevo now, past the outbox, and print the answer and what it means."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "email", metavar="EMAIL", help="The contact, who may get a mail if a workflow uses the event."
        )
        parser.add_argument("--event", default="brevo_events_test", metavar="NAME", help="Default: %(default)s.")

    def handle(self, *args: Any, email: str, event: str, **options: Any) -> None:
        try:
            body = Event(event, email).json()
            if override := settings.OVERRIDE_EMAIL:
                # Printed as it goes out.
                body = readdressed(body, override)
            answer = transports.current().send(body)
        except BrevoEventsError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(body)
        took = _("%d ms") % round(answer.duration * 1000)
        self.stdout.write(f"{answer.status or answer.error}  {answer.body}  ({took})")
        sentence = str(meaning(answer.status, answer.error))
        if not answer.is_taken:
            raise CommandError(sentence)
        self.stdout.write(self.style.SUCCESS(sentence))
