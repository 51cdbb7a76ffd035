"""The engine as a Django app: finds the steps and sagas of the others, and checks them."""

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Load every app's `steps` and `saga` modules once all models are there."""

    name = "sagas"

    def ready(self) -> None:
        """Register steps, sagas and the checks on them."""
        from sagas.checks import check_sagas  # noqa: PLC0415  needs the app registry

        autodiscover_modules("steps", "saga")
        checks.register(check_sagas)
