"""The engine as a Django app: finds the steps and sagas of the others, and checks them."""

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Load every app's `steps` and `saga` modules once all models are there."""

    name = "sagas"

    def ready(self) -> None:
        """Register steps, sagas and the checks on them; see to logs, metrics and traces."""
        from sagas import processes, tracing  # noqa: PLC0415  need the app registry
        from sagas.checks import check_sagas, check_tracing  # noqa: PLC0415

        autodiscover_modules("steps", "saga")
        checks.register(check_sagas)
        checks.register(check_tracing)
        processes.watch()
        tracing.start()
