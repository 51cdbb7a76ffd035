"""The engine's Django app. It finds the steps and sagas of the other apps, and checks them."""

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules

from sagas.celery.serializer import use_fast_json

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Configure the engine."""

    name = "sagas"

    def ready(self) -> None:
        """Import all `steps` and `saga` modules; set up checks, logs, metrics and traces."""
        from sagas.celery import signals  # noqa: PLC0415  need the app registry
        from sagas.checks import check_sagas, check_tracing  # noqa: PLC0415
        from sagas.observability import tracing  # noqa: PLC0415  need the app registry

        use_fast_json()
        autodiscover_modules("steps", "saga")
        checks.register(check_sagas)
        checks.register(check_tracing)
        signals.connect_handlers()
        tracing.start()
