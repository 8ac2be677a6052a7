"""The files of the project."""

from __future__ import annotations

import subprocess

from tests.snippets import ROOT


def sources():
    """Return the names of all files that a developer works on."""
    if (ROOT / ".git").exists():
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        shown = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        return {name for name in filter(None, shown.split("\0")) if (ROOT / name).exists()}
    # An unpacked sdist knows its own.
    return set((ROOT / "django_brevo_events.egg-info" / "SOURCES.txt").read_text().split("\n")) - {""}
