from __future__ import annotations

import logging
import os
import socket
from contextlib import ExitStack
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.test.utils import override_settings
from django.urls import reverse

from shop.stage import login, sample
from shop.stage.brevo import fake_brevo, has_real_key, misbehave
from shop.stage.checks import made_up_events

LATENCY = 0.12  # seconds that the fake Brevo takes to answer
RETRY_BACKOFF = 5  # seconds, so that visitors soon see a retry


class Command(BaseCommand):
    help = "Serve the shop on loopback, with a fake Brevo and a month of history unless BREVO_MA_KEY is set."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Default: %(default)s.")

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        self._check_port(port)
        call_command("migrate", verbosity=0)
        for error in made_up_events():
            raise CommandError(f"{error.msg} {error.hint}")
        if not has_real_key() and (count := sample.write()):
            self.stdout.write(f"A month of made-up history: {count} events.")
        site = f"http://127.0.0.1:{port}"
        with ExitStack() as stack:
            if "SITE_URL" not in os.environ:
                stack.enter_context(override_settings(SITE_URL=site))
            self.stdout.write(f"Shop:  {site}/")
            login.offer(lambda path: self.stdout.write(f"Admin: {site}{path}  (valid once, on this machine)"))
            if has_real_key():
                self.stdout.write("Brevo: the real one")
            else:
                brevo = stack.enter_context(fake_brevo(latency=LATENCY, RETRY_BACKOFF=RETRY_BACKOFF))
                misbehave(brevo)
                self.stdout.write(f"Brevo: {brevo.url}")
            self._log_no_polls()
            call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)

    def _check_port(self, port: int) -> None:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used ({error.strerror}). Choose another one: make shop PORT={port + 1}"
            ) from error

    def _log_no_polls(self) -> None:
        poll = f"GET {reverse('shop:stage:panel')} "
        server = logging.getLogger("django.server")
        server.addFilter(lambda record: record.levelno > logging.INFO or poll not in record.getMessage())
