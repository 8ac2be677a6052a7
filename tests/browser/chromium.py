"""Find the browser that the tests and the pictures drive: ``python -m tests.browser.chromium`` prints where it is."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable():
    """Return the path of an installed Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running():
    """Start it, without a window."""
    # Imported here, since to look for the browser needs nothing installed.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable())
        yield browser
        browser.close()


if __name__ == "__main__":
    print(executable() or f"None of {', '.join(NAMES)} is installed.")
    sys.exit(executable() is None)
