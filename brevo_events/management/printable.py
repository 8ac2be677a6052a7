from __future__ import annotations


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of show, in a text that came from outside."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
