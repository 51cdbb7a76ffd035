"""What is outside of the API's version: health, metrics, and what its errors mean."""

from django.urls import path

from api.monitoring.health import healthz, readyz
from api.monitoring.metrics import metrics
from api.problems.problem_pages import error_page, error_pages

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("errors/", error_pages, name="errors"),
    path("errors/<slug:slug>", error_page, name="error"),
]
