from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from brevo_events import doctor
from brevo_events.conf import settings
from brevo_events.doctor import Finding, Outcome
from brevo_events.exceptions import InvalidSetting
from brevo_events.management.arguments import address
from brevo_events.management.changes import confirmed
from brevo_events.management.printable import printable


class Command(BaseCommand):
    help = (
        "Check everything that has to be right for a mail to be sent, here and at Brevo, and say how to fix problems. "
        "With an address, really sends one identify call and one event. Exits with 1 if something is wrong."
    )
    requires_system_checks = []  # their result is the first finding

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "email",
            nargs="?",
            type=address,
            metavar="EMAIL",
            help=f"Test with this contact, who may get a mail if a workflow uses the event {doctor.EVENT}.",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text", help="Use json for programs.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask before sending.")

    def handle(self, *args: Any, email: str | None, interactive: bool, **options: Any) -> None:
        if email and interactive:
            self._ask(email)
        findings = doctor.examine(email)
        found = self._print_json(findings) if options["format"] == "json" else self._print(findings)
        wrong = sum(finding.is_wrong for finding in found)
        if wrong:
            text = ngettext("%d thing is wrong.", "%d things are wrong.", wrong)
            self.stderr.write(text % wrong)
            sys.exit(1)

    def _ask(self, email: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError("No terminal to confirm on. Use --no-input to send without asking.")
        question = _("Send one call of identify and the event %(event)s for %(email)s to Brevo? [y/N] ")
        if not confirmed(question % {"event": doctor.EVENT, "email": _receiver(email)}):
            raise CommandError(_("Nothing was sent."))

    def _print(self, findings: Iterable[Finding]) -> list[Finding]:
        found = []
        for finding in findings:
            found.append(finding)
            word = self._style(finding.outcome)(f"{finding.outcome.label:<10}")
            self.stdout.write(f"{word}{finding.title!s:<22}{printable(finding.detail)}")
            for line in filter(None, (finding.advice, finding.link)):
                self.stdout.write(f"{'':32}{printable(line)}")
        return found

    def _print_json(self, findings: Iterable[Finding]) -> list[Finding]:
        found = list(findings)
        self.stdout.write(
            json.dumps(
                {
                    "is_well": not any(finding.is_wrong for finding in found),
                    "findings": [_as_dict(finding) for finding in found],
                }
            )
        )
        return found

    def _style(self, outcome: Outcome) -> Any:
        styles = {Outcome.GOOD: self.style.SUCCESS, Outcome.WRONG: self.style.ERROR, Outcome.UNSEEN: self.style.WARNING}
        return styles[outcome]


def _receiver(email: str) -> str:
    try:
        return settings.OVERRIDE_EMAIL or email
    except InvalidSetting:
        return email


def _as_dict(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "title": str(finding.title),
        "outcome": finding.outcome.value,
        "detail": finding.detail,
        "advice": finding.advice,
        "link": finding.link,
    }
