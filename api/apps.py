"""The app of the API's shared parts."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

__all__ = ["ApiConfig"]


class ApiConfig(AppConfig):
    """The shared parts of the REST APIs."""

    name = "api"

    def ready(self) -> None:
        """Register the schema's extensions, the apps' metrics and the auditors' group."""
        from api import openapi  # noqa: F401, PLC0415  (registering is its effect)
        from api.auth.roles import grant_auditors  # noqa: PLC0415  (needs the app registry)

        autodiscover_modules("metrics")
        post_migrate.connect(grant_auditors)  # after Django's receiver, which adds the permissions
