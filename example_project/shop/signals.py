"""Define the signal that the shop sends to whoever listens."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction of the checkout: sender=Order, order=the new order.
order_placed = Signal()
