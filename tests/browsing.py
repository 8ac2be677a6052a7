"""What the admin's tests share: browsers, URLs, and rows to look at."""

from __future__ import annotations

import re

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import path

from brevo_events import track
from brevo_events.admin import OutboxEventAdmin
from brevo_events.clock import UtcNow
from brevo_events.models import HourlyCount, OutboxEvent, Reason, SendAttempt, Status
from tests.shop.models import Cart, Line

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
LIST = "/admin/brevo_events/outboxevent/"
ACTIONS = ("resend", "cancel", "erase")


class ViewedOnlyAdmin(OutboxEventAdmin):
    """The admin of a project that shows events of one name only."""

    def get_queryset(self, request):
        return super().get_queryset(request).filter(name="viewed")


class AttemptAdmin(admin.ModelAdmin):
    autocomplete_fields = ("event",)


class LineInline(admin.TabularInline):
    model = Line


class CartAdmin(admin.ModelAdmin):
    inlines = (LineInline,)


staff_site = admin.AdminSite(name="staff")
staff_site.register(OutboxEvent, OutboxEventAdmin)
staff_site.register(SendAttempt, AttemptAdmin)
staff_site.register(Session)
staff_site.register(Cart, CartAdmin)
viewed_site = admin.AdminSite(name="viewed")
viewed_site.register(OutboxEvent, ViewedOnlyAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    path("staff/", staff_site.urls),
    path("viewed/", viewed_site.urls),
]


def root(**options):
    """Return a browser in which a superuser is logged in."""
    return browser_of(User.objects.create_superuser("root"), **options)


def staff(*permissions):
    """Return a browser in which a user with exactly these permissions is logged in."""
    user = User.objects.create_user("-".join(permissions) or "nobody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return browser_of(user)


def browser_of(user, **options):
    browser = Client(**options)
    browser.force_login(user)
    return browser


def page_of(event):
    return f"{LIST}{event.pk}/change/"


def address_of(action):
    return f"{LIST}actions/{action}/"


def selected(action, *events, **more):
    """Return what the list posts when an action is chosen for these events."""
    return {"action": action, "_selected_action": [event.pk for event in events], **more}


def ask(browser, action, *events, **more):
    """Return the page that asks before an action, as the button of the event's page leads to it."""
    return browser.post(address_of(action), {"pks": pks_of(events), **more})


def confirm(browser, action, *events, follow=True, **more):
    """Confirm an action with these boxes ticked when it was planned, and return the URL it leads to."""
    boxes = ("include_sent", "include_outdated", "include_expired") if action == "resend" else ()
    ticked = ",".join(name for name in boxes if name in more)
    contacts = OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).exclude(contact="")
    typed = contacts.values("contact").distinct().count()
    form = {"pks": pks_of(events), "confirmed": "yes", "ticked": ticked, "contacts": typed, **more}
    return browser.post(address_of(action), form, follow=follow)


def pks_of(events):
    return ",".join(str(event.pk) for event in events)


def ended(email, status=Status.FAILED, name="viewed", object_id=None, data=None, **more):
    event = track(name, email, object_id=object_id, data=data)
    values = {"status": status, "due_at": None, "finished_at": UtcNow(), "attempts": 3, **more}
    OutboxEvent.objects.filter(pk=event.pk).update(**values)
    return OutboxEvent.objects.get(pk=event.pk)


def attempt(event, **more):
    values = {"started_at": event.created_at, "duration_ms": 12, **more}
    return SendAttempt.objects.create(event=event, **values)


def facts_of(response):
    """Return what a page says that asks before an action: first what is planned, then the rest."""
    content = text_of(response).partition('<div id="content"')[2].partition("<form")[0]
    lines = re.findall("<(?:strong|li)>(.*?)</(?:strong|li)>", content, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", "", line).split()).replace("\xa0", " ") for line in lines]


def options_of(response):
    """Return the boxes, each with the number of events that it would include by itself; None for a ticked one."""
    return {
        one.box: None if one.is_ticked else (one.total or response.context["total"]) - response.context["total"]
        for one in response.context["left_out"]
        if one.box
    }


def left_out_of(response):
    """Return what a page that asks before an action says of events that are left out."""
    page = text_of(response)
    found = re.findall('<div class="brevo-left-out">(.*?)</div>', page, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", one).split()) for one in found]


def can_be_confirmed(response):
    return 'name="confirmed"' in text_of(response)


def hidden(response, name):
    return re.search(f'<input type="hidden" name="{name}" value="(.*?)">', text_of(response))[1]


def expired(email=ADA):
    return ended(email, Status.CANCELLED, reason=Reason.EXPIRED)


def text_of(response):
    assert response.status_code == 200, response
    return response.content.decode()


def messages_of(response):
    return [re.sub("<[^>]*>", "", str(message)) for message in response.context["messages"]]


def statuses_of(*events):
    found = dict(OutboxEvent.objects.values_list("pk", "status"))
    return [found.get(event.pk) for event in events]


def dump():
    """Return every row of the database, but for sessions and for counts that any reader of the overview may cache."""
    left_out = (Session, HourlyCount)
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models(include_auto_created=True)
        if model not in left_out
    }
