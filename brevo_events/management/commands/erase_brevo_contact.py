from __future__ import annotations

import errno
import json
import os
import sys
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events import privacy
from brevo_events.management.arguments import address, text
from brevo_events.management.changes import confirmed
from brevo_events.management.outbox import OutboxCommand
from brevo_events.management.progress import shown
from brevo_events.models import OutboxEvent


class Command(OutboxCommand):
    help = (
        "Erase everything the outbox stores about one contact, in any letter case. Pending events are cancelled; if "
        "one is being sent, its answer is not recorded. Event names, response codes and times are kept for the "
        "statistics."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", type=address, metavar="EMAIL", help="The contact's address.")
        parser.add_argument(
            "--export", type=text, metavar="FILE", help="First export the events to a new file, as JSON; - is stdout."
        )
        parser.add_argument("--keep", action="store_true", help="With --export, erase nothing.")
        parser.add_argument("--dry-run", action="store_true", help="Only show how many events would be erased.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")

    def handle(self, *args: Any, email: str, export: str | None, keep: bool, **options: Any) -> None:
        if export is not None and not export.strip():
            # call_command() doesn't validate it, and erasing without the copy would not be intended.
            raise CommandError("--export needs a file name.")
        if keep and export is None:
            raise CommandError("--keep is for --export FILE: without it there is nothing to do.")
        count = OutboxEvent.objects.of_contact(email).count()
        if options["dry_run"]:
            self.stdout.write(_("Would be erased: %d.") % (0 if keep else count))
            return
        if not keep and count and options["interactive"]:
            question = ngettext("Erase %d event for good? [y/N] ", "Erase %d events for good? [y/N] ", count)
            self._ask(question % count, export)
        exported = self._export(email, export) if export else None
        if not keep:
            self._erase(email, exported, count, export)

    def _ask(self, question: str, export: str | None) -> None:
        if not sys.stdin.isatty():
            raise CommandError("No terminal to confirm on. Use --no-input to erase without asking.")
        if export == "-":
            # input() writes its prompt to the output unless that is a terminal.
            self.stderr.write(question, style_func=str, ending="")
            self.stderr.flush()
            question = ""
        if not confirmed(question):
            raise CommandError("Nothing was erased.")

    def _export(self, email: str, path: str) -> list[int]:
        """Write a contact's events, and return their IDs once they are safely written."""
        events = list(privacy.export(email))
        # JSON doesn't escape some characters that would control a terminal.
        is_ascii = path == "-" and self.stdout.isatty()
        content = json.dumps(events, cls=DjangoJSONEncoder, indent=2, ensure_ascii=is_ascii) + "\n"
        try:
            if path == "-":
                _write_output(self.stdout, content)
            else:
                _write_new(path, content)
        except OSError as error:
            name = "the output" if path == "-" else path
            raise CommandError(f"Nothing was erased: {name} could not be written ({error.strerror}).") from error
        if path != "-":
            self.stdout.write(_("Written: %s.") % path)
        return [event["id"] for event in events]

    def _erase(self, email: str, exported: list[int] | None, count: int, export: str | None) -> None:
        erased = sum(shown(self, privacy.erase(email, exported), count))
        self._say(_("Erased: %d.") % erased if erased else _("Nothing is kept of this contact."), export)
        if exported is not None and (rest := OutboxEvent.objects.of_contact(email).count()):
            raise CommandError(
                ngettext(
                    "%d event was captured after the export, and is kept. Run the command again.",
                    "%d events were captured after the export, and are kept. Run the command again.",
                    rest,
                )
                % rest
            )

    def _say(self, sentence: str, export: str | None) -> None:
        # Other output must not end up in the exported JSON.
        (self.stderr if export == "-" else self.stdout).write(sentence, style_func=str)


def _write_new(path: str, content: str) -> None:
    # Readable only by its owner, and never overwriting another file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            _put_on_disk(file)
    except BaseException:
        # Half a copy could be mistaken for a whole one, and would be in the way of the next.
        os.unlink(path)
        raise


def _write_output(output: OutputWrapper, content: str) -> None:
    output.flush()
    try:
        descriptor = os.dup(output.fileno())
    except (AttributeError, OSError):  # a StringIO of a test, for instance
        output.write(content, ending="")
        return
    # Bypasses the stream: under PYTHONUNBUFFERED, it doesn't notice that a full disk or a broken pipe took only part of
    # a write.
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        _put_on_disk(file)


def _put_on_disk(file: IO[str]) -> None:
    """Wait until all data has been written: only then does a full disk or a broken pipe show."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        # A pipe or a terminal can't do this.
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise
