"""The outbox in the Django admin: to look at and to resend from, never to edit."""

from __future__ import annotations

from brevo_events.admin.events import OutboxEventAdmin

__all__ = ["OutboxEventAdmin"]
