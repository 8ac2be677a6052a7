"""What API v3 says about the account and about one contact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from brevo_events.answers import Answer
from brevo_events.conf import settings
from brevo_events.secrets import Secret
from brevo_events.transports.reading import Reader


@dataclass(frozen=True, slots=True)
class Account:
    """The account's owner and its Automation; None means that the answer didn't say."""

    owner: str
    is_automation_on: bool | None
    has_our_key: bool | None


@dataclass(frozen=True, slots=True)
class Contact:
    """The relevant facts about one contact."""

    is_blocklisted: bool


def read_account() -> Account | Answer:
    """Return the account, or an answer that isn't one. Its ma-key never leaves this function."""
    answer = Reader.of_account().account()
    found = _content(answer)
    if found is None:
        return answer
    automation = found.get("marketingAutomation")
    if not isinstance(automation, dict):
        automation = {}
    enabled, key = automation.get("enabled"), automation.get("key")
    owner = [str(found[name]) for name in ("companyName", "email") if found.get(name)]
    return Account(
        ", ".join(owner),
        enabled if isinstance(enabled, bool) else None,
        settings.ma_key() == Secret(key) if isinstance(key, str) and key else None,
    )


def read_contact(email: str) -> Contact | Answer:
    """Return the contact, or an answer that isn't one: a 404 if Brevo doesn't know the contact."""
    answer = Reader.of_account().contact(email)
    found = _content(answer)
    return answer if found is None else Contact(found.get("emailBlacklisted") is True)


def _content(answer: Answer) -> dict[str, Any] | None:
    if answer.status != 200:
        return None
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
