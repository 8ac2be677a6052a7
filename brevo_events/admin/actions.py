from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, ngettext_lazy

from brevo_events import privacy
from brevo_events.admin.masking import masked, may_see_contacts
from brevo_events.choices import Status
from brevo_events.models import outbox
from brevo_events.querysets import (
    SKIPPED_ERASED,
    SKIPPED_EXPIRED,
    SKIPPED_OUTDATED,
    SKIPPED_SENT,
    Changed,
    in_batches,
)

MOST_CONTACTS = 100
SHOWN_CONTACTS = 10


class Action:
    """
    Describe what a user can do to events: its texts, what it would change, and the change.

    ``one`` is the button on the page of one event, ``button`` that of the
    confirmation. ``options`` are the arguments that take in what is skipped otherwise, each
    with the reason for which it is.
    """

    name: str
    permission: str
    title: str | Promise
    one: str | Promise
    button: str | Promise
    planned: Any
    done: Any
    logged: str | Promise
    options: dict[str, tuple[Any, str | Promise]] = {}

    def change(self, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        """Change events, or only say what would be changed."""
        raise NotImplementedError

    def facts(self, request: HttpRequest, pks: list[int]) -> list[str]:
        """Return what else one should know before these are changed."""
        return []


class Resend(Action):
    """Make finished events due again."""

    name = "resend"
    permission = "brevo_events.resend_outboxevent"
    title = _("Resend events")
    one = _("Resend")
    button = _("Resend")
    planned = ngettext_lazy(
        "%d event becomes due again, with its attempts counted from zero.",
        "%d events become due again, with their attempts counted from zero.",
    )
    done = ngettext_lazy("%d event is due again.", "%d events are due again.")
    logged = _("Resent.")
    options = {
        "include_sent": (SKIPPED_SENT, _("Also what Brevo has taken already")),
        "include_outdated": (SKIPPED_OUTDATED, _("Also what is older than another event of its contact and object")),
        "include_expired": (SKIPPED_EXPIRED, _("Also what has expired")),
    }

    def change(self, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        return outbox().filter(pk__in=pks).resend(dry_run=dry_run, **options)

    def facts(self, request: HttpRequest, pks: list[int]) -> list[str]:
        contacts = outbox().filter(pk__in=pks).values("contact")
        earlier = outbox().filter(pk__in=pks, contact=OuterRef("contact"), pk__lt=OuterRef("pk"))
        newer = outbox().filter(Exists(earlier), status=Status.SENT, contact__in=contacts).count()
        text = ngettext(
            "%d newer event of the same contacts has already been sent: Brevo gets them out of order.",
            "%d newer events of the same contacts have already been sent: Brevo gets them out of order.",
            newer,
        )
        return [text % newer] if newer else []


class Cancel(Action):
    """End events that still wait."""

    name = "cancel"
    permission = "brevo_events.cancel_outboxevent"
    title = _("Cancel events")
    one = _("Cancel event")
    button = _("Cancel the events")
    planned = ngettext_lazy("%d event does not go out any more.", "%d events do not go out any more.")
    done = ngettext_lazy("%d event is cancelled.", "%d events are cancelled.")
    logged = _("Cancelled.")

    def change(self, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        return outbox().filter(pk__in=pks).cancel(dry_run=dry_run)


class Erase(Action):
    """Erase all that is kept of the contacts of events, also in their other events."""

    name = "erase"
    permission = "brevo_events.erase_contact"
    title = _("Erase contacts")
    one = _("Erase contact")
    button = _("Erase for good")
    planned = ngettext_lazy(
        "%d event loses its address, object, body and answers. What waits does not go out any more.",
        "%d events lose their address, object, body and answers. What waits does not go out any more.",
    )
    done = ngettext_lazy("%d event is erased.", "%d events are erased.")
    logged = _("Erased.")

    def change(self, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        emails = _addresses(pks)
        changed = Changed()
        if erased := outbox().filter(pk__in=pks, contact="").count():
            changed.skip(SKIPPED_ERASED, erased)
        if len(emails) > MOST_CONTACTS:
            changed.skip(_("choose events of %d contacts at most") % MOST_CONTACTS, len(pks) - erased)
            return changed
        changed.pks += outbox().filter(contact__in=emails).order_by("pk").values_list("pk", flat=True)
        for email in () if dry_run else emails.values():
            for _count in privacy.erase(email):
                pass
        return changed

    def facts(self, request: HttpRequest, pks: list[int]) -> list[str]:
        emails = [email if may_see_contacts(request) else masked(email) for email in _addresses(pks).values()]
        shown = ", ".join(emails[:SHOWN_CONTACTS]) + (" …" if len(emails) > SHOWN_CONTACTS else "")
        count = len(emails)
        contacts = ngettext("%(count)d contact: %(shown)s", "%(count)d contacts: %(shown)s", count)
        return [contacts % {"count": count, "shown": shown}, str(_("This cannot be undone."))]


ACTIONS: dict[str, Action] = {action.name: action for action in (Resend(), Cancel(), Erase())}


def _addresses(pks: list[int]) -> dict[str, str]:
    # In batches, since one contact may have more events than SQLite takes in a statement.
    found: dict[str, str] = {}
    for batch in in_batches(sorted(pks)):
        events = outbox().filter(pk__in=batch).exclude(contact="").order_by("pk")
        found |= dict(events.values_list("contact", "email"))
    return found
