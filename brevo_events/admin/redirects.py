from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext as _


def unchanged(request: HttpRequest, address: str) -> HttpResponseRedirect:
    """Redirect a request that should have been a POST, as after a login in between or a reload."""
    messages.warning(request, _("Nothing was changed: press the button again."))
    return HttpResponseRedirect(address)
