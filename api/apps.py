"""The shared REST parts, as a Django app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

__all__ = ["ApiConfig"]


class ApiConfig(AppConfig):
    """What all REST endpoints share."""

    name = "api"

    def ready(self) -> None:
        """Tell the schema how requests are authenticated, and load what every app adds to the metrics."""
        from api import openapi  # noqa: F401, PLC0415  (registering is its effect)

        autodiscover_modules("metrics")
