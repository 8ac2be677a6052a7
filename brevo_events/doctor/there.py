"""Checks that need calls: the connection, one contact and one event, the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from brevo_events import transports
from brevo_events.answers import Answer, brevo_error, meaning
from brevo_events.conf import settings
from brevo_events.doctor import account
from brevo_events.doctor.aside import aside
from brevo_events.doctor.findings import Check, Finding, Outcome
from brevo_events.events import Event, Identification
from brevo_events.exceptions import BrevoEventsError, InvalidSetting
from brevo_events.secrets import Secret
from brevo_events.times import in_words
from brevo_events.transports.http import HttpTransport
from brevo_events.transports.reading import DEADLINE, Reader

EVENT = "doctor_test"
ATTRIBUTE = "BREVO_EVENTS_DOCTOR"  # Brevo ignores an attribute that the account does not have
MAX_CLOCK_ERROR = timedelta(minutes=5)

CONNECTION = Check("connection", gettext_lazy("Connection"))
CLOCK = Check("clock", gettext_lazy("Clock"))
IDENTIFY = Check("identify", gettext_lazy("Call of identify"))
TEST_EVENT = Check("event", gettext_lazy("Test event"))

ALL = (
    *(CONNECTION, CLOCK, IDENTIFY, TEST_EVENT),
    *(account.ACCOUNT, account.AUTOMATION, account.ACCOUNT_KEY, account.CONTACT),
)


def untried() -> Iterator[Finding]:
    """Yield that nothing was tried."""
    for check in ALL:
        yield check.unseen(_("Not tried yet."))


def look(email: str | None, before: Sequence[Finding], key: Finding) -> Iterator[Finding]:
    """Yield the results of calls; with an address, also of real ones, unless an earlier check or the key is wrong."""
    connection, clock = _connection()
    yield connection
    yield clock
    # Read first, so that no test event is sent to another account, or to one where it would do nothing.
    read = list(account.account(key))
    calls = list(_calls(email, [*before, key, connection, *read]))
    yield from calls
    yield from read
    address = _address(email)
    yield account.contact(address, is_identified=calls[0].outcome == Outcome.GOOD)


def _connection() -> Iterator[Finding]:
    answer = _answer_of_host()
    if isinstance(answer, str):
        for check in (CONNECTION, CLOCK):
            yield check.unseen(answer)
        return
    if answer.status is None:
        yield CONNECTION.wrong(f"{answer.error}: {answer.body}", meaning(None, answer.error))
    else:
        yield CONNECTION.good(_("Brevo's host answers, in %d ms.") % _milliseconds(answer))
    yield _clock(answer)


def _answer_of_host() -> Answer | str:
    """Return the answer of Brevo's host to a request without key and event, or why there was no request."""
    try:
        if not issubclass(transports.transport_class(), HttpTransport):
            return _("Only the transport http connects to Brevo by itself.")
        url = settings.URL
        return aside(lambda: Reader(url, Secret("")).knock(), 2 * DEADLINE)
    except BrevoEventsError as error:
        return str(error)


def _clock(answer: Answer) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return CLOCK.unseen(_("The host's answer had no date."))
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    ahead = datetime.now(UTC) - theirs
    if abs(ahead) <= MAX_CLOCK_ERROR:
        return CLOCK.good(_("It agrees with that of Brevo's host."))
    detail = _("This machine's clock is %s ahead.") if ahead > timedelta() else _("This machine's clock is %s behind.")
    advice = _("Set it, and keep it right by NTP: the times in events and in the admin are wrong.")
    return CLOCK.wrong(detail % in_words(abs(ahead).total_seconds()), advice)


def _calls(email: str | None, before: Sequence[Finding]) -> Iterator[Finding]:
    """Make the real calls, bypassing the outbox, and yield their results."""
    if not email:
        for check in (IDENTIFY, TEST_EVENT):
            yield check.unseen(account.NO_ADDRESS, account.GIVE_ADDRESS)
        return
    not_sent = _("Not sent, because of another finding: %s.")
    if wrong := next((finding for finding in before if finding.is_wrong), None):
        for check in (IDENTIFY, TEST_EVENT):
            yield check.unseen(not_sent % wrong.title)
        return
    now = timezone.now().isoformat(timespec="seconds")
    yield (identified := _sent(IDENTIFY, Identification(email, {ATTRIBUTE: now})))
    if identified.outcome == Outcome.GOOD:
        yield _sent(TEST_EVENT, Event(EVENT, email))
    else:
        yield TEST_EVENT.unseen(not_sent % identified.title)


def _sent(check: Check, event: Event) -> Finding:
    body = event.json()
    try:
        answer = aside(lambda: transports.current().send(body, event.call), settings.attempt_deadline + DEADLINE)
    except BrevoEventsError as error:
        return check.unseen(error)
    told = _("%(answer)s after %(duration)d ms") % {
        "answer": answer.status or answer.error,
        "duration": _milliseconds(answer),
    }
    said = meaning(answer.status, answer.error)
    if answer.is_taken:
        return check.good(f"{told}. {said}")
    message = ": ".join(part for part in brevo_error(answer.body) if part)
    return check.wrong(f"{told}. {message}", said)


def _address(email: str | None) -> str | None:
    """Return the address to use in the calls: on a staging site, that of ``OVERRIDE_EMAIL``."""
    try:
        return email and (settings.OVERRIDE_EMAIL or email)
    except InvalidSetting:  # already reported as a finding
        return email


def _milliseconds(answer: Answer) -> int:
    return round(answer.duration * 1000)
