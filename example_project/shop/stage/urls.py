"""The URLs of the demonstration."""

from __future__ import annotations

from django.urls import path

from shop.stage import views

app_name = "stage"

urlpatterns = [
    path("panel/", views.panel, name="panel"),
    path("be/<slug:who>/", views.be, name="be"),
    path("mood/", views.mood, name="mood"),
    path("login/<str:token>/", views.log_in, name="log-in"),
]
