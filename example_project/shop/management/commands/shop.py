from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.utils.crypto import get_random_string

from shop.brevo import fake_brevo, has_real_key


class Command(BaseCommand):
    help = "Serve the shop on loopback, with a fake Brevo unless BREVO_MA_KEY is set."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Default: %(default)s.")

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        password = self._set_admin_password()
        with nullcontext() if has_real_key() else fake_brevo() as brevo:
            self.stdout.write(f"Shop:  http://127.0.0.1:{port}/")
            self.stdout.write(f"Admin: http://127.0.0.1:{port}/admin/  user admin, password {password}")
            self.stdout.write(f"Brevo: {brevo.url if brevo else 'the real one'}")
            call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)

    def _set_admin_password(self) -> str:
        password = get_random_string(12)
        admin, _created = get_user_model().objects.get_or_create(username="admin")
        admin.is_staff = admin.is_superuser = True
        admin.set_password(password)
        admin.save()
        return password
