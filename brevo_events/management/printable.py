from __future__ import annotations


def printable(text: str) -> str:
    """Escape the characters in a foreign text that a terminal would interpret."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
