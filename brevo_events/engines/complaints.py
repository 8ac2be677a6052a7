from __future__ import annotations

import logging
import math
import time

logger = logging.getLogger(__name__)

EVERY = 300.0  # seconds


class Complaints:
    """Lasting errors, logged once in a while."""

    def __init__(self) -> None:
        self._text = ""
        self._logged_at = -math.inf

    def log(self, text: str) -> None:
        """Log an error, unless the same one was logged a moment ago."""
        now = time.monotonic()
        if text != self._text or now - self._logged_at > EVERY:
            self._text, self._logged_at = text, now
            logger.error("%s", text)

    def forget(self) -> None:
        """Log the next error in any case, because the trouble is over."""
        self._text = ""
