"""The URLs of the shop and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    # Browsers request it on pages that name no icon, such as those of the admin.
    path("favicon.ico", RedirectView.as_view(url=static("shop/icon.svg"))),
    path("admin/", admin.site.urls),
    path("", include("shop.urls")),
]
