"""Offer the panel to every template."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from shop.stage.panel import Panel


def panel(request: HttpRequest) -> dict[str, SimpleLazyObject]:
    """Offer what the panel shows, looked up by templates that show it only."""
    return {"panel": SimpleLazyObject(lambda: Panel(request))}
