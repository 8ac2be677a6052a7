"""The panel, for every template."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from shop.stage.panel import Panel


def panel(request: HttpRequest) -> dict[str, SimpleLazyObject]:
    """Provide the contents of the panel, looked up only by templates that show it."""
    return {"panel": SimpleLazyObject(lambda: Panel(request))}
