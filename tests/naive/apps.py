from django.apps import AppConfig


class NaiveConfig(AppConfig):
    name = "tests.naive"
