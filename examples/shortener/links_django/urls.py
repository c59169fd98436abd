"""Where the views are."""

from __future__ import annotations

from django.urls import path

from links_django import views

urlpatterns = [
    path("", views.index),
    path("api/links", views.links),
    path("<str:code>", views.follow),
]
handler500 = views.fail
