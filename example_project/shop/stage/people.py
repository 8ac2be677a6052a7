"""Three people whom a visitor can be with one click."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

BLOCKED_DOMAIN = "blocked.example"
FLAKY_DOMAIN = "flaky.example"


class Person(NamedTuple):
    """Somebody's name, address, and what the played Brevo does about it."""

    first_name: str
    email: str
    nature: str | Promise = ""


PEOPLE = {
    "ada": Person("Ada", "ada@example.com"),
    "bob": Person("Bob", f"bob@{BLOCKED_DOMAIN}", _("blocked")),
    "eve": Person("Eve", f"eve@{FLAKY_DOMAIN}", _("flaky")),
}
