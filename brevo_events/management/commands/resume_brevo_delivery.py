from __future__ import annotations

from typing import Any

from brevo_events import engines
from brevo_events.health import state, take_pulse
from brevo_events.management.outbox import OutboxCommand
from brevo_events.models import Gate


class Command(OutboxCommand):
    help = "End a pause of delivery. A hold caused by a fault goes on."

    def handle(self, *args: Any, **options: Any) -> None:
        Gate.load().resume()
        engines.nudge()
        now = state(take_pulse())
        self.stdout.write(now.title if now.is_well else f"{now.title} {now.explanation}")
