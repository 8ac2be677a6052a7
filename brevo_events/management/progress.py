from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _


def shown(command: BaseCommand, steps: Iterable[int], total: int) -> Iterator[int]:
    """Pass on the number of events per step of a long operation, and show the sum on a terminal."""
    done = 0
    is_watched = command.stderr.isatty()
    for count in steps:
        done += count
        if is_watched:
            text = _("%(done)d of %(total)d") % {"done": done, "total": total}
            command.stderr.write(f"\r{text}", style_func=str, ending="")
            command.stderr.flush()
        yield count
    if is_watched and done:
        command.stderr.write("")
