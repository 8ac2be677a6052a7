from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_depth: ContextVar[int] = ContextVar("brevo_events_muted", default=0)


def muted() -> Muted:
    """
    Capture nothing meanwhile, in this thread or task only: ``with muted(): import_carts()``.

    For imports, data migrations and tests of other things, and as a decorator
    ``@muted()`` for plain functions. Functions of ``track_on`` are not called,
    and ``track`` returns None. Other threads and requests go on as ever; so do
    ``cancel()`` and the delivery of what has been captured before.
    """
    return Muted()


def is_muted() -> bool:
    """Return whether the caller's thread or task is muted."""
    return _depth.get() > 0


class Muted:
    """What ``muted()`` returns: a context manager that may be entered again, and a decorator."""

    def __enter__(self) -> None:
        _depth.set(_depth.get() + 1)

    def __exit__(self, *error: object) -> None:
        # Not below 0: a generator may be closed by another thread than it was begun in.
        _depth.set(max(0, _depth.get() - 1))

    def __call__(self, function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        # What these return runs only after the call, and would not be muted.
        runs_later = iscoroutinefunction(function) or isgeneratorfunction(function) or isasyncgenfunction(function)
        if runs_later or isinstance(function, type):
            raise TypeError("muted() decorates plain functions: elsewhere, write `with muted():` inside.")

        @wraps(function)
        def muted_function(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            with self:
                return function(*args, **kwargs)

        return muted_function
