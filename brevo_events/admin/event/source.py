"""The row whose change caused an event, and its page in the admin."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from brevo_events.admin.permissions import may_see_contacts
from brevo_events.models import OutboxEvent


def source_of(event: OutboxEvent, site: AdminSite, request: HttpRequest) -> tuple[str, str] | None:
    """
    Return the name of the row whose change caused an event, and the URL of its page, empty if the user has none.

    A row without a page of its own is often edited on another row's page, like
    a cart's lines: then it is that page.
    """
    label, _colon, key = event.source.partition(":")
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    name = _name(model, key, request)
    if model in site._registry:  # noqa: SLF001
        return name, _page(model, key, site, request)
    parent = _parent(model, key, site, request)
    if parent is None:
        return name, ""
    of, of_key = parent
    return _("%(row)s of %(parent)s") % {"row": name, "parent": _name(of, of_key, request)}, _page(
        of, of_key, site, request
    )


def _name(model: type[Model], key: str, request: HttpRequest) -> str:
    # The key may be an address, or something else that identifies a person.
    return f"{model._meta.verbose_name} {key}" if may_see_contacts(request) else str(model._meta.verbose_name)


def _parent(model: type[Model], key: str, site: AdminSite, request: HttpRequest) -> tuple[type[Model], str] | None:
    """Return the model on whose pages rows of this model are edited, and the key of this row's parent."""
    for field in model._meta.get_fields():
        parent = field.related_model
        if not isinstance(field, ForeignKey) or not isinstance(parent, type):
            continue
        model_admin = site._registry.get(parent)  # noqa: SLF001
        if model_admin and any(inline.model is model for inline in model_admin.get_inlines(request, None)):
            found = _value(model, key, field.attname)
            return None if found is None else (parent, str(found))
    return None


def _value(model: type[Model], key: str, column: str) -> Any:
    try:
        return model._default_manager.filter(pk=key).values_list(column, flat=True).first()
    except (ValueError, ValidationError):
        return None


def _page(model: type[Model], key: str, site: AdminSite, request: HttpRequest) -> str:
    model_admin: ModelAdmin[Any] = site._registry[model]  # noqa: SLF001
    if not model_admin.has_view_permission(request):
        return ""
    try:
        if not model_admin.get_queryset(request).filter(pk=key).exists():
            return ""
    except (ValueError, ValidationError):
        return ""
    where = f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change"
    return reverse(where, args=[quote(key)], current_app=site.name)
