"""Views for the panel's script and buttons, and for the link in the terminal."""

from __future__ import annotations

from django.conf import settings
from django.contrib import auth, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from brevo_events import engines
from brevo_events.models import Gate
from shop import carts, customers
from shop.stage import brevo, login
from shop.stage.people import PEOPLE

BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@require_safe
def panel(request: HttpRequest) -> HttpResponse:
    """Render only the live parts of the panel, for the script that updates them."""
    response = render(request, "shop/stage/live.html")
    # An update in progress while someone signs in has the previous session. Django would tell the browser to delete its
    # cookie, and the browser would delete the new session's.
    request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
    return response


@require_POST
def be(request: HttpRequest, who: str) -> HttpResponse:
    """Make the visitor one of the three people, who takes over a stranger's cart but no one else's."""
    person = PEOPLE.get(who)
    if person is None or brevo.running() is None:
        raise Http404
    before = customers.current(request)
    if before and before.email != person.email:
        customers.sign_out(request)
        carts.forget(request)
    carts.welcome(request, customers.get_or_create(person.email, person.first_name))
    messages.success(request, _("You are %(name)s now.") % {"name": person.first_name})
    return redirect("shop:cart" if carts.current(request) else "shop:products")


@require_POST
def mood(request: HttpRequest) -> HttpResponse:
    """Change the mood of the stand-in for Brevo."""
    played, wanted = brevo.running(), request.POST.get("mood")
    if played is None or wanted not in brevo.Mood.values:
        raise Http404
    played.change(brevo.Mood(wanted))
    if played.mood in (brevo.Mood.WELL, brevo.Mood.SLOW) and Gate.load().try_now():
        engines.nudge()
    page = request.POST.get("next", "")
    return redirect(page if url_has_allowed_host_and_scheme(page, allowed_hosts=None) else "shop:products")


@never_cache
@require_GET
def log_in(request: HttpRequest, token: str) -> HttpResponse:
    """Log the developer in to the admin, with the link in the terminal."""
    if not login.is_local(request):
        raise Http404
    if login.spend(token):
        auth.login(request, login.administrator(), BACKEND)
    elif not request.user.is_staff:
        return render(request, "shop/stage/spent.html", status=410)
    return redirect("admin:brevo_events_outboxevent_overview")
