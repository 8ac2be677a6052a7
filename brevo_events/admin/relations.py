from __future__ import annotations

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from brevo_events.admin.masking import may_see_contacts
from brevo_events.choices import Status
from brevo_events.models import OutboxEvent

OTHERS = 10


def others_of_contact(event: OutboxEvent) -> list[OutboxEvent]:
    """Return the newest other events of the same contact."""
    # Each status by itself, since then the index gives the newest at once, also of a contact with very many.
    found: list[OutboxEvent] = []
    for status in Status if event.contact else ():
        same = OutboxEvent.objects.filter(contact=event.contact, status=status).exclude(pk=event.pk)
        found += same.defer("body").order_by("-pk")[:OTHERS]
    return sorted(found, key=lambda other: -other.pk)[:OTHERS]


def source_of(event: OutboxEvent, site: AdminSite, request: HttpRequest) -> tuple[str, str] | None:
    """Return what the row is called whose change caused an event, and its page, empty where the user has none."""
    label, _, key = event.source.partition(":")
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    # The key may be an address, or whatever else names a person.
    name = f"{model._meta.verbose_name} {key}" if may_see_contacts(request) else str(model._meta.verbose_name)
    if (page := site._registry.get(model)) is None or not page.has_view_permission(request):  # noqa: SLF001
        return name, ""
    return name, _page(model, key, site)


def _page(model: type[Model], key: str, site: AdminSite) -> str:
    try:
        if not model._default_manager.filter(pk=key).exists():
            return ""
    except (ValueError, ValidationError):
        return ""
    where = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return reverse(where, args=[quote(key)], current_app=site.name)
