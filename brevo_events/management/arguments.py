from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, time

from django.core.management.base import CommandParser
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from brevo_events.answers import FINGERPRINT, alike
from brevo_events.choices import Status
from brevo_events.conf import settings
from brevo_events.events import Event
from brevo_events.exceptions import InvalidEvent
from brevo_events.failures import with_message
from brevo_events.models import OutboxEvent

MAX_NUMBER = 2**63 - 1  # the largest that every database accepts
MAX_DAYS = 36_500
FILTERS = ("pks", "status", "event", "email", "since", "until", "response_code", "message", "failure")


def positive(value: str) -> int:
    """Return a whole number of at least 1; for an argument's ``type=``."""
    if not value.isdecimal() or len(value) > 19 or not 1 <= int(value) <= MAX_NUMBER:
        raise ArgumentTypeError(f"{value!r} is not a whole number of at least 1 that a database can hold.")
    return int(value)


def concurrency(value: str) -> int:
    """Return a number of requests in flight that the setting allows too; for an argument's ``type=``."""
    number = positive(value)
    if problem := settings.options()["CONCURRENCY"].check(number):
        raise ArgumentTypeError(f"{value!r} {problem}.")
    return number


def days(value: str) -> float:
    """Return a number of days, 0 or more, perhaps with a fraction; for an argument's ``type=``."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_DAYS:
        raise ArgumentTypeError(f"{value!r} is not a number of days from 0 to {MAX_DAYS}.")
    return number


def text(value: str) -> str:
    """Return a non-empty text: an unset variable in a script must not mean everything."""
    if not value.strip() or "\0" in value:
        raise ArgumentTypeError(f"{value!r} is empty, or has a character that no event can have.")
    return value


def message(value: str) -> str:
    """Return part of Brevo's message, with a word in it: a number alone would match all messages with a number."""
    if not any(character.isalpha() for character in alike(text(value))):
        raise ArgumentTypeError(f"{value!r} has only addresses or numbers, which are ignored: add words.")
    return value


def address(value: str) -> str:
    """Return one e-mail address; for an argument's ``type=``."""
    try:
        return Event("any", value.strip()).email
    except InvalidEvent as error:
        raise ArgumentTypeError(f"{value!r} is not an e-mail address like ada@example.com.") from error


def moment(value: str) -> datetime:
    """Return a date or datetime in ISO 8601, in the current time zone if it has none."""
    try:
        parsed = parse_datetime(value)
        day = None if parsed else parse_date(value)
    except ValueError as error:
        raise ArgumentTypeError(f"{value!r} is not a valid date.") from error
    if parsed is None and day is not None:
        parsed = datetime.combine(day, time.min)
    if parsed is None:
        raise ArgumentTypeError(f"{value!r} is not a date like 2026-11-23 or a time like 2026-11-23T15:30.")
    try:
        return (timezone.make_aware(parsed) if timezone.is_naive(parsed) else parsed).astimezone(UTC)
    except OverflowError as error:
        raise ArgumentTypeError(f"{value!r} is too far away.") from error


def fingerprint(value: str) -> str:
    """Return the fingerprint of a failure; for an argument's ``type=``."""
    if not re.fullmatch(f"[0-9a-f]{{{FINGERPRINT}}}", value):
        raise ArgumentTypeError(f"{value!r} is not {FINGERPRINT} hexadecimal digits, as in the address of a list.")
    return value


def add_filters(parser: CommandParser) -> None:
    """Add the arguments with which commands select events."""
    parser.add_argument("pks", nargs="*", type=positive, metavar="pk", help="Event IDs, as shown in the admin.")
    parser.add_argument("--status", choices=Status.values, help="Only events with this status.")
    parser.add_argument("--event", type=text, metavar="NAME", help="Only events with this name.")
    parser.add_argument("--email", type=text, metavar="E", help="Only events of this contact, in any letter case.")
    parser.add_argument("--since", type=moment, metavar="T", help="Only events captured then or later (ISO 8601).")
    parser.add_argument("--until", type=moment, metavar="T", help="Only events captured before then (ISO 8601).")
    parser.add_argument("--response-code", type=positive, metavar="N", help="Only events last answered with this code.")
    parser.add_argument(
        "--message",
        type=message,
        metavar="TEXT",
        help="Only failures with this text in their message; addresses, quoted values and numbers are ignored.",
    )
    parser.add_argument(
        "--failure",
        type=fingerprint,
        metavar="HASH",
        help="Only events of one group of failures; the hash is in the URL of its list in the admin.",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="Change at most N events, the oldest first.")


def has_filter(options: dict[str, object]) -> bool:
    """Return whether any filter was given; a limit alone isn't one."""
    return any(options.get(name) for name in FILTERS)


def chosen_events(
    *,
    pks: list[int],
    status: str | None,
    event: str | None,
    email: str | None,
    since: datetime | None,
    until: datetime | None,
    response_code: int | None,
    message: str | None,
    failure: str | None,
) -> QuerySet[OutboxEvent, int]:
    """Return the IDs of the events that match the filters, oldest first."""
    wanted = {
        "pk__in": pks,
        "status": status,
        "name": event,
        "response_code": response_code,
        "failure": failure,
    }
    events = OutboxEvent.objects.filter(**{name: value for name, value in wanted.items() if value})
    events = events.captured_between(since, until)
    if email:
        events = events.of_contact(email)
    if message:
        events = events.of_failure(*with_message(message))
    return events.order_by("pk").values_list("pk", flat=True)
