"""The engine as a Django app: finds the steps and sagas of the others, and checks them."""

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules

from sagas.celery.serializer import use_fast_json

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Load every app's `steps` and `saga` modules once all models are there."""

    name = "sagas"

    def ready(self) -> None:
        """Register steps, sagas and the checks on them; see to messages, logs, metrics and
        traces.
        """
        from sagas.celery import signals  # noqa: PLC0415  need the app registry
        from sagas.checks import check_sagas, check_tracing  # noqa: PLC0415
        from sagas.observability import tracing  # noqa: PLC0415  need the app registry

        use_fast_json()
        autodiscover_modules("steps", "saga")
        checks.register(check_sagas)
        checks.register(check_tracing)
        signals.watch()
        tracing.start()
