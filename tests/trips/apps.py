from django.apps import AppConfig


class TripsConfig(AppConfig):
    name = "tests.trips"
    label = "trips"

    def ready(self) -> None:
        from tests.trips import holidays, kinds  # noqa: F401, PLC0415  (registering is its effect)
