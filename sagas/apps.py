"""The engine's Django app. It finds the steps and sagas of the other apps, and checks them."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from sagas.celery.configuration import complete_apps
from sagas.celery.serializer import use_fast_json
from sagas.conf import settings
from sagas.observability import database_errors

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Configure the engine."""

    name = "sagas"

    def ready(self) -> None:
        """Import all `steps` and `saga` modules; set up checks, logs, metrics and traces."""
        from sagas.celery import signals  # noqa: PLC0415  need the app registry
        from sagas.checks import at_start, registration  # noqa: PLC0415  need the app registry
        from sagas.observability import tracing  # noqa: PLC0415  need the app registry

        database_errors.connect()
        if settings.FAST_JSON:
            use_fast_json()
        autodiscover_modules("steps", "saga")
        registration.register_checks()
        signals.connect_handlers()
        at_start.connect()
        complete_apps()
        tracing.start()
