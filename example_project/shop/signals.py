"""The shop's own signals."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the checkout's transaction: sender=Order, order=the new order.
order_placed = Signal()
