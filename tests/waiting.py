from __future__ import annotations

import time


def wait_until(condition, timeout=30.0):
    """Wait for a condition to become true; fail if it doesn't in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen in time"
        time.sleep(0.05)
