"""Three people that a visitor can become with one click."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

BLOCKED_DOMAIN = "blocked.example"
FLAKY_DOMAIN = "flaky.example"


class Person(NamedTuple):
    """A name, an address, and what the stand-in for Brevo does with it."""

    first_name: str
    email: str
    nature: str | Promise = ""


PEOPLE = {
    "ada": Person("Ada", "ada@example.com"),
    "bob": Person("Bob", f"bob@{BLOCKED_DOMAIN}", _("blocked")),
    "eve": Person("Eve", f"eve@{FLAKY_DOMAIN}", _("flaky")),
}
