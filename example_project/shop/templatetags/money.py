"""Write amounts of money."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def euros(amount: Decimal) -> str:
    """Write an amount the way the visitor's language does."""
    return _("€%(amount)s") % {"amount": number_format(amount, decimal_pos=2)}
