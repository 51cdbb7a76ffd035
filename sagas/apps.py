"""The engine as a Django app: finds the steps and sagas of the others, and checks them."""

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules

from sagas.wire import use_fast_json

__all__ = ["SagasConfig"]


class SagasConfig(AppConfig):
    """Load every app's `steps` and `saga` modules once all models are there."""

    name = "sagas"

    def ready(self) -> None:
        """Register steps, sagas and the checks on them, and how messages are encoded."""
        from sagas.checks import check_sagas  # noqa: PLC0415  needs the app registry

        use_fast_json()
        autodiscover_modules("steps", "saga")
        checks.register(check_sagas)
