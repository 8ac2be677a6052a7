"""Declare the shop to Django."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    """Configure the example shop."""

    name = "shop"
    label = "shop"
    verbose_name = _("Shop")
