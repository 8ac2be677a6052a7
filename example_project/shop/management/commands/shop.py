from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from django.utils.crypto import get_random_string

from shop import sample
from shop.brevo import fake_brevo, has_real_key, misbehave
from shop.checks import made_up_events

LATENCY = 0.12  # seconds that the fake Brevo takes to answer
RETRY_BACKOFF = 5  # seconds, so that nobody waits long to see a retry


class Command(BaseCommand):
    help = "Serve the shop on loopback, with a fake Brevo and a month of history unless BREVO_MA_KEY is set."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Default: %(default)s.")

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        for error in made_up_events():
            raise CommandError(f"{error.msg} {error.hint}")
        if not has_real_key() and (count := sample.write()):
            self.stdout.write(f"A month of made-up history: {count} events.")
        password = self._set_admin_password()
        with nullcontext() if has_real_key() else fake_brevo(latency=LATENCY, RETRY_BACKOFF=RETRY_BACKOFF) as brevo:
            if brevo:
                misbehave(brevo)
            self.stdout.write(f"Shop:  http://127.0.0.1:{port}/")
            self.stdout.write(f"Admin: http://127.0.0.1:{port}/admin/  user admin, password {password}")
            self.stdout.write(f"Brevo: {brevo.url if brevo else 'the real one'}")
            self._log_no_polls()
            call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)

    def _set_admin_password(self) -> str:
        password = get_random_string(12)
        admin, _created = get_user_model().objects.get_or_create(username="admin")
        admin.is_staff = admin.is_superuser = True
        admin.set_password(password)
        admin.save()
        return password

    def _log_no_polls(self) -> None:
        poll = f"GET {reverse('shop:panel')} "
        server = logging.getLogger("django.server")
        server.addFilter(lambda record: record.levelno > logging.INFO or poll not in record.getMessage())
