from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from brevo_events.models import OutboxEvent


@pytest.fixture
def brevo_outbox(db: Any) -> Iterator[list[OutboxEvent]]:
    """The list of events that the test captures; brings the database, as pytest-django's ``db`` does."""
    # Imported here: pytest loads this file in projects without Django settings too.
    from brevo_events.testing import capture_events

    with capture_events() as events:
        yield events
