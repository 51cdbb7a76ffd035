from django.apps import AppConfig

__all__ = ["DoctorConfig"]


class DoctorConfig(AppConfig):
    name = "doctor"
