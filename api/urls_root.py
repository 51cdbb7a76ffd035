"""What is outside of the API's version: health, and what its errors mean."""

from django.urls import path

from api.errors import error_page, error_pages
from api.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("errors/", error_pages, name="errors"),
    path("errors/<slug:slug>", error_page, name="error"),
]
