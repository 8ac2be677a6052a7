"""Refuses to run where made-up events could be sent to a real account."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import DatabaseError

from shop.stage.brevo import has_real_key

MADE_UP = "A key of Brevo is set, and this database holds made-up events, which must not go out to a real account."
HINT = "Set DATABASE_URL to another database."


def made_up_events(**kwargs: Any) -> list[CheckMessage]:
    """Report a made-up history combined with a real key."""
    from shop.stage import sample

    try:
        found = has_real_key() and sample.events().exists()
    except DatabaseError:
        return []  # the tables don't exist yet, so they have no made-up events
    return [Error(MADE_UP, hint=HINT, id="shop.E001")] if found else []
