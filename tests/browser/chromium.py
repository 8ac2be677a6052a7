"""The browser that the tests and screenshots use: ``python -m tests.browser.chromium`` prints where it is."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable():
    """Return the path of an installed Chromium, or None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running():
    """Start it, without a window."""
    # Imported here, because looking for the browser needs no installed package.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable())
        yield browser
        browser.close()


if __name__ == "__main__":
    print(executable() or f"None of {', '.join(NAMES)} is installed.")
    sys.exit(executable() is None)
