"""What no API shows: what to check in Brevo by hand. The sources are in docs/setup.md."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from brevo_events.doctor.findings import Check, Finding

ECOMMERCE_APP = Check("ecommerce_app", gettext_lazy("Ecommerce app"))
TRIGGER = Check("trigger", gettext_lazy("Entry of the workflow"))
EXIT = Check("exit", gettext_lazy("Exit of the workflow"))
RE_ENTRY = Check("re_entry", gettext_lazy("Re-entry"))

APP_HELP = "https://developers.brevo.com/docs/add-the-ecommerce-app"
WORKFLOW_HELP = "https://help.brevo.com/hc/en-us/articles/360002761299"
AUDIENCE_HELP = "https://help.brevo.com/hc/en-us/articles/19649907878546"


def items() -> Iterator[Finding]:
    """Yield the items to check in Brevo."""
    yield ECOMMERCE_APP.unseen(
        _("It must be activated: otherwise cart events start no ecommerce automation."),
        _("In Brevo: Apps, Ecommerce."),
        APP_HELP,
    )
    yield TRIGGER.unseen(
        _("The workflow must be active, and begin with cart_updated, spelled exactly like that."),
        _("In Brevo: Automations, your abandoned-cart automation, its trigger."),
        WORKFLOW_HELP,
    )
    yield EXIT.unseen(
        _("order_completed and cart_deleted must end it: otherwise customers who have paid are reminded."),
        _("In Brevo: the automation, Settings, exit conditions."),
        AUDIENCE_HELP,
    )
    yield RE_ENTRY.unseen(
        _("It must be allowed: otherwise only the first cart of a contact leads to a mail."),
        _("In Brevo: the automation, Settings, Re-entry after exit."),
        AUDIENCE_HELP,
    )
