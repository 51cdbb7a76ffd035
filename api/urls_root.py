"""Paths outside of the versioned API: health, metrics, and the pages about problems."""

from django.urls import path

from api.monitoring.health import healthz, readyz
from api.monitoring.metrics import metrics
from api.problems.problem_pages import problem_list, problem_page

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("errors/", problem_list, name="errors"),
    path("errors/<slug:slug>", problem_page, name="error"),
]
