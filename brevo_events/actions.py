"""Changes that users make to many events at once: resend, cancel, erase. Shared by the admin and the commands."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from brevo_events import privacy
from brevo_events.choices import Status
from brevo_events.exceptions import BrevoEventsError
from brevo_events.querysets import (
    SKIPPED_ERASED,
    SKIPPED_EXPIRED,
    SKIPPED_OUTDATED,
    SKIPPED_SENT,
    Changed,
    OutboxEventQuerySet,
    in_batches,
)

MAX_CONTACTS = 100


class Refused(BrevoEventsError):
    """An action that can't be done to these events at all. The message is for users."""


class Action:
    """
    A change that users make to events: its texts, its dry run, and the change itself.

    ``options`` are keyword arguments that include events which are otherwise
    skipped; each comes with the reason for which they are skipped and a label.
    ``events`` are all events that the user may change, ``pks`` the chosen ones
    among them. An action that ``is_final`` can't be undone; its page names
    every contact.
    """

    name: str
    permission: str
    title: str | Promise
    button_label: str | Promise  # on the page of one event
    confirm_label: Any
    planned: Any
    done: Any
    logged: str | Promise
    options: dict[str, tuple[Any, str | Promise]] = {}
    is_final = False
    contacts_shown = 20

    def change(self, events: OutboxEventQuerySet, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        """Change events, or with a dry run only find out what would change."""
        raise NotImplementedError

    def facts(self, events: OutboxEventQuerySet, pks: list[int]) -> list[str]:
        """Return anything else that the user should know before these events are changed."""
        return []


class Resend(Action):
    """Sends finished events again."""

    name = "resend"
    permission = "brevo_events.resend_outboxevent"
    title = gettext_lazy("Resend events")
    button_label = gettext_lazy("Resend")
    confirm_label = ngettext_lazy("Resend %d event", "Resend %d events")
    planned = ngettext_lazy(
        "%d event will be resent; its attempts restart at zero.",
        "%d events will be resent; their attempts restart at zero.",
    )
    done = ngettext_lazy("%d event will be sent again.", "%d events will be sent again.")
    logged = gettext_lazy("Resent.")
    options = {
        "include_sent": (SKIPPED_SENT, gettext_lazy("Include: Brevo gets them twice")),
        "include_outdated": (
            SKIPPED_OUTDATED,
            gettext_lazy("Include: Brevo gets what is outdated"),
        ),
        "include_expired": (SKIPPED_EXPIRED, gettext_lazy("Include")),
    }

    def change(self, events: OutboxEventQuerySet, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        return events.filter(pk__in=pks).resend(dry_run=dry_run, **options)

    def facts(self, events: OutboxEventQuerySet, pks: list[int]) -> list[str]:
        contacts = events.filter(pk__in=pks).values("contact")
        earlier = events.filter(pk__in=pks, contact=OuterRef("contact"), pk__lt=OuterRef("pk"))
        newer = events.filter(Exists(earlier), status=Status.SENT, contact__in=contacts).count()
        text = ngettext(
            "Brevo already has %d newer event of the same contacts, and will get these out of order.",
            "Brevo already has %d newer events of the same contacts, and will get these out of order.",
            newer,
        )
        return [text % newer] if newer else []


class Cancel(Action):
    """Cancels pending events."""

    name = "cancel"
    permission = "brevo_events.cancel_outboxevent"
    title = gettext_lazy("Cancel events")
    button_label = gettext_lazy("Cancel event")
    confirm_label = ngettext_lazy("Cancel %d event", "Cancel %d events")
    planned = ngettext_lazy("%d event will be cancelled and not sent.", "%d events will be cancelled and not sent.")
    done = ngettext_lazy("%d event was cancelled.", "%d events were cancelled.")
    logged = gettext_lazy("Cancelled.")

    def change(self, events: OutboxEventQuerySet, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        return events.filter(pk__in=pks).cancel(dry_run=dry_run)


class Erase(Action):
    """Erases everything stored about the contacts of events, including their other events."""

    name = "erase"
    permission = "brevo_events.erase_contact"
    title = gettext_lazy("Erase contacts")
    button_label = gettext_lazy("Erase contact")
    confirm_label = ngettext_lazy("Erase %d event for good", "Erase %d events for good")
    planned = ngettext_lazy(
        "%d event will lose its address, object, body and answers; if it is pending, it will not be sent.",
        "%d events will lose their address, object, body and answers; pending ones will not be sent.",
    )
    done = ngettext_lazy("%d event was erased.", "%d events were erased.")
    logged = gettext_lazy("Erased.")
    is_final = True
    contacts_shown = MAX_CONTACTS

    def change(self, events: OutboxEventQuerySet, pks: list[int], *, dry_run: bool = False, **options: bool) -> Changed:
        emails = _addresses(events, pks)
        if len(emails) > MAX_CONTACTS:
            raise Refused(_("Select events of at most %d contacts.") % MAX_CONTACTS)
        changed = Changed()
        if erased := events.filter(pk__in=pks, contact="").count():
            changed.skip(SKIPPED_ERASED, erased)
        changed.pks += events.filter(contact__in=emails).order_by("pk").values_list("pk", flat=True)
        for contact, email in () if dry_run else emails.items():
            of_contact = events.filter(contact=contact).values_list("pk", flat=True)
            for _count in privacy.erase(email, of_contact):
                pass
        return changed

    def facts(self, events: OutboxEventQuerySet, pks: list[int]) -> list[str]:
        return [_("This cannot be undone.")]


ACTIONS: dict[str, Action] = {action.name: action for action in (Resend(), Cancel(), Erase())}


def _addresses(events: OutboxEventQuerySet, pks: list[int]) -> dict[str, str]:
    # In batches, because one contact may have more events than SQLite accepts in a statement.
    found: dict[str, str] = {}
    for batch in in_batches(sorted(pks)):
        some = events.filter(pk__in=batch).exclude(contact="").order_by("pk")
        found |= dict(some.values_list("contact", "email"))
    return found
