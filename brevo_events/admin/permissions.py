"""Who may see and do what in the admin, in addition to Django's own permission to view events."""

from __future__ import annotations

from django.http import HttpRequest

from brevo_events.actions import Action
from brevo_events.addresses import masked
from brevo_events.models import OutboxEvent


def may_see_contacts(request: HttpRequest) -> bool:
    """Return whether this user may see addresses, and the data that was sent."""
    return request.user.has_perm("brevo_events.view_contact_data")


def may_act(request: HttpRequest, action: Action) -> bool:
    """Return whether this user may resend, cancel or erase; they also need the permission to view events."""
    return request.user.has_perm(action.permission)


def may_pause(request: HttpRequest) -> bool:
    """Return whether this user may pause and resume delivery, end a hold early, and run checks that call Brevo."""
    return request.user.has_perm("brevo_events.pause_delivery")


def may_export(request: HttpRequest) -> bool:
    """Return whether this user may download a list of events; unmasked addresses need another permission."""
    return request.user.has_perm("brevo_events.export_outboxevent")


def contact_of(event: OutboxEvent, *, shows_contact: bool) -> str:
    """Return an event's address, masked for users who may not see contacts."""
    return event.email if shows_contact else masked(event.email)


def object_of(event: OutboxEvent, *, shows_contact: bool) -> str:
    """Return an event's object; an address in it is masked for users who may not see contacts."""
    object_id = event.object_id or ""
    return masked(object_id) if "@" in object_id and not shows_contact else object_id
