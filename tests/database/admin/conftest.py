from __future__ import annotations

import pytest

from tests.browsing import root


@pytest.fixture
def client(db):
    """A browser in which a superuser is logged in."""
    return root()
