"""Health and metrics, outside of the API's version."""

from django.urls import path

from api.health import healthz, readyz
from api.metrics import metrics

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
