"""Values that are hard to store."""

from __future__ import annotations


def nested(depth, kind=list):
    value = "core"
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value
