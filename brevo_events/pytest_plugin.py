from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from brevo_events.models import OutboxEvent


@pytest.fixture
def brevo_outbox(db: Any) -> Iterator[list[OutboxEvent]]:
    """The list of events captured by the test; enables the database, like pytest-django's ``db``."""
    # Imported here, because pytest also loads this file in projects without Django settings.
    from brevo_events.testing import capture_events

    with capture_events() as events:
        yield events
