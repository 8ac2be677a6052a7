"""The outbox in the Django admin, for viewing and resending events, never for editing them."""

from __future__ import annotations

from brevo_events.admin.events import OutboxEventAdmin

__all__ = ["OutboxEventAdmin"]
