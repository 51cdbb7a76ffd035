from django.apps import AppConfig


class WaitingConfig(AppConfig):
    name = "tests.outside.waiting"
    label = "waiting"

    def ready(self) -> None:
        """Register the gateway."""
        from payments.gateways import GATEWAYS  # noqa: PLC0415  needs the app registry

        from .gateway import WaitingGateway  # noqa: PLC0415

        GATEWAYS["waiting"] = WaitingGateway
