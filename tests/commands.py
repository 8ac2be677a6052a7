from __future__ import annotations

import io

from django.core.management import call_command


class Terminal(io.StringIO):
    """An output that somebody watches."""

    def isatty(self):
        return True


def run(*command, **options):
    """Run a command; return what it prints, and its errors below."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*command, stdout=out, stderr=err, no_color=True, **options)
    return out.getvalue() + err.getvalue()


def shown_by(*command):
    """Run a command on a terminal; return what it writes beside its output."""
    err = Terminal()
    call_command(*command, stdout=io.StringIO(), stderr=err, no_color=True)
    return err.getvalue()
