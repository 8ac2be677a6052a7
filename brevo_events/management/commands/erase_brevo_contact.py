from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _

from brevo_events import privacy
from brevo_events.management.arguments import address
from brevo_events.management.changes import confirmed
from brevo_events.management.progress import shown
from brevo_events.models import outbox


class Command(BaseCommand):
    help = (
        "Erase all that the outbox holds of one contact, in any letter case. What waits is cancelled, what is being "
        "sent writes nothing back. Names of events, response codes and times stay, for the statistics."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", type=address, metavar="EMAIL", help="The address of the contact.")
        parser.add_argument("--export", metavar="FILE", help="First write it to a new file, as JSON; - is the output.")
        parser.add_argument("--keep", action="store_true", help="Erase nothing, with --export.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many events would be erased.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")

    def handle(self, *args: Any, email: str, export: str | None, keep: bool, **options: Any) -> None:
        if keep and not export:
            raise CommandError("--keep is for --export FILE: else nothing would be done.")
        count = outbox().of_contact(email).count()
        if options["dry_run"]:
            self.stdout.write(_("Would be erased: %d.") % (0 if keep else count))
            return
        if not keep and count and options["interactive"]:
            self._ask(_("Erase %d events for good? [y/N] ") % count, export)
        if export:
            self._export(email, export)
        if not keep:
            erased = sum(shown(self, privacy.erase(email), count))
            self._say(_("Erased: %d.") % erased if erased else _("Nothing is kept of this contact."), export)

    def _ask(self, question: str, export: str | None) -> None:
        if not sys.stdin.isatty():
            raise CommandError("Nobody is there to be asked: say --no-input to erase all the same.")
        if export == "-":
            # input() writes its question to the output, unless that is a terminal.
            self.stderr.write(question, style_func=str, ending="")
            self.stderr.flush()
            question = ""
        if not confirmed(question):
            raise CommandError("Nothing was erased.")

    def _export(self, email: str, path: str) -> None:
        told = json.dumps(list(privacy.export(email)), cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)
        if path == "-":
            self.stdout.write(told)
            return
        try:
            # For the eyes of its owner only, and never over another file.
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(told + "\n")
        except OSError as error:
            raise CommandError(f"Nothing was erased: {path} could not be written ({error.strerror}).") from error
        self.stdout.write(_("Written: %s.") % path)

    def _say(self, sentence: str, export: str | None) -> None:
        # What goes to the output beside an export must not spoil its JSON.
        (self.stderr if export == "-" else self.stdout).write(sentence, style_func=str)
