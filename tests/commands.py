from __future__ import annotations

import io

from django.core.management import call_command


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self):
        return True


def run(*command, **options):
    """Run a command; return its output, followed by its errors."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*command, stdout=out, stderr=err, no_color=True, **options)
    return out.getvalue() + err.getvalue()


def shown_by(*command):
    """Run a command on a terminal; return what it writes there besides its output."""
    err = Terminal()
    call_command(*command, stdout=io.StringIO(), stderr=err, no_color=True)
    return err.getvalue()
