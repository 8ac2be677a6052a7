"""The configuration of the shop app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    """The example shop."""

    name = "shop"
    label = "shop"
    verbose_name = _("Shop")

    def ready(self) -> None:
        """Register the check."""
        from shop.stage.checks import made_up_events

        checks.register(made_up_events)
