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
    Capture nothing inside it, in this thread or task only: ``with muted(): import_carts()``.

    For imports, data migrations, and tests of something else; also as a
    decorator ``@muted()`` for plain functions. Functions of ``track_on`` aren't
    called, and ``track`` returns None. Other threads and requests aren't
    affected, nor are ``cancel()`` and the delivery of events captured before.
    """
    return Muted()


def is_muted() -> bool:
    """Return whether the caller's thread or task is muted."""
    return _depth.get() > 0


class Muted:
    """The return value of ``muted()``: a reusable context manager and a decorator."""

    def __enter__(self) -> None:
        _depth.set(_depth.get() + 1)

    def __exit__(self, *error: object) -> None:
        # Not below 0: a generator may be closed by another thread than the one that started it.
        _depth.set(max(0, _depth.get() - 1))

    def __call__(self, function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        # These only return an object whose code runs after the call, unmuted.
        runs_later = iscoroutinefunction(function) or isgeneratorfunction(function) or isasyncgenfunction(function)
        if runs_later or isinstance(function, type):
            raise TypeError("muted() decorates plain functions: elsewhere, write `with muted():` inside.")

        @wraps(function)
        def muted_function(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            with self:
                return function(*args, **kwargs)

        return muted_function
