from __future__ import annotations

import time


def wait_until(condition, timeout=30.0):
    """Wait for a condition to be true; it must become so in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen in time"
        time.sleep(0.05)
