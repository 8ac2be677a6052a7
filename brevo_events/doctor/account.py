"""Problems with the account, or with one contact in it, as far as API v3 shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from brevo_events.answers import Answer, brevo_error, meaning
from brevo_events.conf import settings
from brevo_events.doctor.api import Account, Contact, read_account, read_contact
from brevo_events.doctor.aside import aside
from brevo_events.doctor.findings import Check, Finding
from brevo_events.exceptions import InvalidSetting
from brevo_events.health import WHERE_KEY_IS
from brevo_events.transports.reading import DEADLINE

Found = TypeVar("Found")

ACCOUNT = Check("account", gettext_lazy("Account"))
AUTOMATION = Check("automation", gettext_lazy("Automation"))
ACCOUNT_KEY = Check("account_key", gettext_lazy("Key of the account"))
CONTACT = Check("contact", gettext_lazy("Contact"))

MAX_SHOWN = 500  # characters of an error

NO_ADDRESS = gettext_lazy("No address was given.")
GIVE_ADDRESS = gettext_lazy("Give an address of your own to try.")
# Where to look if there is no API_KEY.
WHERE: dict[Check, str | Promise] = {
    ACCOUNT: gettext_lazy("Set API_KEY to a key of API v3: then the account and the contact are read too."),
    AUTOMATION: gettext_lazy("In Brevo: open Automations in the menu; it must be activated."),
    ACCOUNT_KEY: gettext_lazy("Compare MA_KEY with the client_key of your account. %s"),
    CONTACT: gettext_lazy("In Brevo: Contacts, search for the address. It must be there, and not be blocklisted."),
}


def account(key: Finding) -> Iterator[Finding]:
    """Yield whose account it is, whether Automation is on, and whether the ma-key, if valid, belongs to it."""
    found = _read(read_account)
    if isinstance(found, Account):
        yield ACCOUNT.good(found.owner or _("It could be read."))
        yield _automation(found)
        yield ACCOUNT_KEY.unseen(key.detail) if key.is_wrong else _key(found)
        return
    yield _not_read(ACCOUNT, found)
    for check in (AUTOMATION, ACCOUNT_KEY):
        yield check.unseen(_("The account was not read."), _where(check))


def contact(email: str | None, *, is_identified: bool) -> Finding:
    """Return whether Brevo knows a contact and may write to it."""
    if not email:
        return CONTACT.unseen(NO_ADDRESS, GIVE_ADDRESS)
    found = _read(lambda: read_contact(email))
    if isinstance(found, Contact):
        if found.is_blocklisted:
            advice = _("In Brevo: Contacts, the contact's page. Unblock only contacts who have agreed to mails.")
            return CONTACT.wrong(_("The contact is blocklisted: Brevo sends it no mail."), advice)
        return CONTACT.good(_("Brevo knows the contact, and may write to it."))
    if isinstance(found, Answer) and found.status == 404:
        if is_identified:
            advice = _("It was identified just now: run this again in a minute. If that changes nothing, ask Brevo.")
            return CONTACT.wrong(_("Brevo does not know the contact."), advice)
        return CONTACT.unseen(_("Brevo does not know the contact, and it could not be identified now."))
    return _not_read(CONTACT, found)


def _read(call: Callable[[], Found | Answer]) -> Found | Answer | str:
    """Return the result of a call, any other answer, or the reason why there is none."""
    try:
        # A callable key may be slow.
        if not settings.has_callable_key("API_KEY") and not settings.api_key():
            return _("BREVO_EVENTS['API_KEY'] is not set.")
        return aside(call, 2 * DEADLINE)
    except InvalidSetting as error:
        return str(error)


def _not_read(check: Check, found: object) -> Finding:
    if not isinstance(found, Answer):
        return check.unseen(found, _where(check))
    # The body of a 200 is the account itself, including its key.
    code, message = ("", "") if found.status == 200 else brevo_error(found.body[:MAX_SHOWN])
    told = ": ".join(part for part in (str(found.status or found.error), code, message) if part)
    if found.status == 401:
        advice = _("Check API_KEY, and at Brevo whether it is for some IP addresses only.")
        return check.wrong(_("Brevo refuses the API_KEY (%s).") % told, advice)
    return check.unseen(_("API v3 could not be read (%s).") % told, "" if found.status else meaning(None, found.error))


def _automation(found: Account) -> Finding:
    if found.is_automation_on is None:
        return AUTOMATION.unseen(_("The account does not say."), _where(AUTOMATION))
    if not found.is_automation_on:
        advice = _("In Brevo: open Automations in the menu, and activate it.")
        return AUTOMATION.wrong(
            _("Automation is switched off: Brevo accepts events and does nothing with them."), advice
        )
    return AUTOMATION.good(_("It is switched on."))


def _key(found: Account) -> Finding:
    if found.has_our_key is None:
        return ACCOUNT_KEY.unseen(_("The account does not say."), _where(ACCOUNT_KEY))
    if not found.has_our_key:
        detail = _("MA_KEY is not the key of this account: its workflows never see the events.")
        return ACCOUNT_KEY.wrong(detail, _("Set the ma-key. %s") % WHERE_KEY_IS)
    return ACCOUNT_KEY.good(_("MA_KEY is the key of this account."))


def _where(check: Check) -> str:
    return str(WHERE[check]).replace("%s", str(WHERE_KEY_IS))
