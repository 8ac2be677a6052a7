from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


class LivenessFile:
    """A file whose modification time shows Kubernetes or systemd that a worker is alive."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._is_well = True

    def create(self) -> None:
        """Touch the file; raises ``OSError`` if it can't be written."""
        self._path.open("a").close()
        self._path.touch()

    def touch(self) -> None:
        """Touch the file, creating it again if it is gone; a failure is logged once and otherwise ignored."""
        try:
            self._path.touch()
        except OSError as error:
            if self._is_well:
                logger.warning("The liveness file can't be touched: %s", error)
            self._is_well = False
        else:
            self._is_well = True
