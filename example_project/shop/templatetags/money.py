"""Amounts of money in templates."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def euros(amount: Decimal) -> str:
    """Format an amount as in the visitor's language."""
    return _("€%(amount)s") % {"amount": number_format(amount, decimal_pos=2)}
