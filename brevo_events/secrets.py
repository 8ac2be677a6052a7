"""The keys, stored so that nothing shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from brevo_events.exceptions import InvalidSetting

MA_KEY, API_KEY = "ma-key", "api-key"
HEADERS = {"MA_KEY": MA_KEY, "API_KEY": API_KEY}  # by setting

# Characters that JSON may escape, but needn't: \u006b is a k.
_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:/|u00([2-7][0-9a-fA-F]))")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class Secret:
    """A key that no ``repr``, log line or error page shows, and the header it is for."""

    __slots__ = ("_value", "header")

    def __init__(self, value: str, header: str = MA_KEY) -> None:
        self._value = value
        self.header = header

    def __repr__(self) -> str:
        return "Secret('…')" if self else "Secret('')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        """Return the key itself, only for the header of a request."""
        return self._value

    @property
    def is_of_api_v3(self) -> bool:
        """Whether it is a key for Brevo's API v3, judging by its first letters."""
        return self._value.startswith("xkeysib-")

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is neither copied nor pickled.")

    def remove_from(self, text: str) -> str:
        """Return the text with each occurrence of the key replaced, including one cut off at the end."""
        if not self:
            return text
        text = _CUT_ESCAPE.sub("", _ESCAPE.sub(_unescaped, text)).replace(self._value, f"[{self.header}]")
        for length in range(len(self._value) - 1, 3, -1):
            if text.endswith(self._value[:length]):
                return text[:-length] + f"[{self.header}]"
        return text

    def problem(self) -> str:
        """Return what makes the key unusable, without showing it, or an empty string."""
        if not isinstance(self._value, str):
            return "must be a string, or a callable that returns one"
        if any(not "!" <= character <= "~" for character in self._value):
            return "has a character that a header cannot carry: a line break, a space or an accented letter"
        return ""


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[2] or "2f", 16))
    return escape[0] if character in '"\\' else escape[1] + character


def ask_for_key(setting: str, key: Callable[[], str]) -> Secret:
    try:
        return Secret(key(), HEADERS[setting])
    except Exception as error:  # noqa: BLE001 - its frames may hold the key
        problem = type(error).__name__
    raise InvalidSetting(f"BREVO_EVENTS[{setting!r}] is a callable, which raised {problem}.")
