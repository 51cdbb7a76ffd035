"""The engine's settings: the dict SAGAS in Django's settings. Each has a default.

    SAGAS = {"RETENTION_DAYS": 90, "STEP_ATTEMPTS": 10}

A setting may also stand alone in Django's settings, such as SAGA_RETENTION_DAYS. The dict wins.
Settings are read when they are used, so a test may override them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from django.conf import settings as django_settings

__all__ = ["EngineSettings", "Setting", "names", "settings", "unknown_names"]

T = TypeVar("T")

DICT = "SAGAS"


class Setting(Generic[T]):
    """One setting: its default, and its name where it stands alone."""

    name = ""

    def __init__(self, default: T, *, alone: str) -> None:
        self.default = default
        self.alone = alone

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Setting[T]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object, owner: type) -> "Setting[T] | T":
        """Return the value of the setting."""
        if instance is None:
            return self
        given = _given()
        if self.name in given:
            return cast("T", given[self.name])
        return cast("T", getattr(django_settings, self.alone, self.default))


class EngineSettings:
    """All settings of the engine. Times are in seconds unless the name says otherwise."""

    # The relay.
    FLUSH_SECONDS = Setting(1.0, alone="OUTBOX_FLUSH_SECONDS")
    BATCH_SIZE = Setting(100, alone="OUTBOX_BATCH_SIZE")

    # Steps.
    STEP_ATTEMPTS = Setting(5, alone="SAGA_STEP_ATTEMPTS")
    LEASE_SECONDS = Setting(30.0, alone="SAGA_LEASE_SECONDS")
    CALLS_AT_ONCE = Setting(64, alone="SAGA_CALLS_AT_ONCE")
    # A step that opens a network connection in its transaction: "warn", "raise" or "allow".
    NETWORK_IN_STEPS = Setting("warn", alone="SAGA_NETWORK_IN_STEPS")

    # Sagas that make no progress, and sagas that have ended.
    STALL_SECONDS = Setting(30.0, alone="SAGA_STALL_SECONDS")
    REDRIVES = Setting(5, alone="SAGA_REDRIVES")
    RETENTION_DAYS = Setting(30, alone="SAGA_RETENTION_DAYS")

    # Messages.
    SIGNING_KEYS = Setting[Sequence[str]]((), alone="SAGA_SIGNING_KEYS")
    ACCEPT_UNSIGNED = Setting(False, alone="SAGA_ACCEPT_UNSIGNED")

    # The admin.
    PRIVATE_FIELDS = Setting[Sequence[str]]((), alone="SAGA_PRIVATE_FIELDS")

    # Settings of sessions that `migrate_all` stores in the role: {"lock_timeout": "5s"}.
    SESSION_SETTINGS = Setting[Mapping[str, str]]({}, alone="SAGA_SESSION_SETTINGS")

    # Heartbeats. Without an address, the broker's address is used.
    REDIS_URL = Setting("", alone="REDIS_URL")

    # Metrics of workers. No port, no metrics.
    METRICS_HOST = Setting("127.0.0.1", alone="METRICS_HOST")
    METRICS_PORT = Setting(0, alone="METRICS_PORT")

    # Changes of the whole process, so the engine makes them only on request: workers log by
    # Django's LOGGING instead of Celery's own set-up, and a faster JSON serializer for kombu.
    USE_DJANGO_LOGGING = Setting(False, alone="SAGA_USE_DJANGO_LOGGING")
    FAST_JSON = Setting(False, alone="SAGA_FAST_JSON")


settings = EngineSettings()


def names() -> list[str]:
    """Return the names of all settings."""
    return sorted(
        name for name, value in vars(EngineSettings).items() if isinstance(value, Setting)
    )


def unknown_names() -> list[str]:
    """Return the names in SAGAS that are no setting of the engine."""
    return sorted(_given().keys() - names())


def _given() -> Mapping[str, Any]:
    given: Any = getattr(django_settings, DICT, None) or {}
    return given if isinstance(given, Mapping) else {}
