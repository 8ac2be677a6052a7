from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from brevo_events.exceptions import InvalidEvent


def snapshot(instance: Any, *paths: str, **renamed: str) -> dict[str, Any]:
    """
    Read attributes of an instance into a dict for an event's ``data``.

    ``snapshot(line, "quantity", name="product.name")`` returns
    ``{"quantity": 2, "name": "Wrist watch"}``. Paths are dotted, callables are
    called, and None or a missing related row on the path gives None. Raises
    ``InvalidEvent`` for a name that doesn't exist.
    """
    named = {**{path: path for path in paths}, **renamed}
    return {key: _read(instance, path) for key, path in named.items()}


def _read(instance: Any, path: str) -> Any:
    value = instance
    for name in path.split("."):
        if value is None:
            return None
        try:
            found = getattr(value, name)
        except ObjectDoesNotExist:  # first, because a related row's DoesNotExist is an AttributeError too
            return None
        except AttributeError as error:
            message = f"{type(value).__name__} has no {name!r}, which {path!r} of a snapshot asks for."
            raise InvalidEvent(message) from error
        value = found() if _is_to_call(found) else found
    return value


def _is_to_call(found: Any) -> bool:
    # Django marks objects that must not be called, such as related managers.
    return callable(found) and not getattr(found, "do_not_call_in_templates", False)
