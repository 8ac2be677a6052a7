from __future__ import annotations

from django.http import HttpRequest


def may_see_contacts(request: HttpRequest) -> bool:
    """Return whether this user may see addresses, and what was sent about whom."""
    return request.user.has_perm("brevo_events.view_contact_data")


def masked(email: str) -> str:
    """Return so much of an address that two can be told apart, and nobody is named."""
    local, at, domain = email.rpartition("@")
    return f"{local[:1]}…{at}{domain[:1]}…" if at else ""
