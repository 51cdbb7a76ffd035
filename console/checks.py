"""System checks of the console: its settings, and the set-up of the project around it."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.urls import NoReverseMatch, reverse

from console.conf import setting

__all__ = ["check_console"]

# The trigger of migration 0003_history refuses to delete younger entries.
LEAST_LOG_DAYS = 365

# The settings of the theme without which the console has no start page or no menu.
OF_THEME = ("DASHBOARD_CALLBACK", "SIDEBAR")


@register
def check_console(**kwargs: Any) -> list[CheckMessage]:
    """Report a set-up in which the console does not work."""
    return [*_log_days(), *_user_model(), *_addresses(), *_theme(), *_command()]


def _log_days() -> Iterator[CheckMessage]:
    """Report a CONSOLE_LOG_DAYS below the year that the database insists on."""
    days = setting("CONSOLE_LOG_DAYS")
    if days < LEAST_LOG_DAYS:
        text = (
            f"CONSOLE_LOG_DAYS is {days}, but the log of operators must be kept for at least a"
            " year."
        )
        yield Error(text, hint=f"Set it to {LEAST_LOG_DAYS} or more.", id="console.E001")


def _user_model() -> Iterator[CheckMessage]:
    if settings.AUTH_USER_MODEL != "auth.User":
        yield Error(
            f"AUTH_USER_MODEL is {settings.AUTH_USER_MODEL}, but the log of staff watches the users"
            " of django.contrib.auth.",
            hint="Run the console in a project whose users are those of django.contrib.auth.",
            id="console.E002",
        )


def _addresses() -> Iterator[CheckMessage]:
    try:
        reverse("console:failures")
    except NoReverseMatch:
        yield Error(
            "The pages of the console have no address.",
            hint='Add path("admin/", include("console.urls")) to the URLs, before admin.site.urls.',
            id="console.E003",
        )


def _theme() -> Iterator[CheckMessage]:
    installed = [config.name for config in apps.get_app_configs()]
    admin = installed.index("django.contrib.admin")
    if "unfold" not in installed[:admin]:
        yield Error(
            "The console has the theme of django-unfold, which is not installed before the admin.",
            hint='Put "unfold" before "django.contrib.admin" in INSTALLED_APPS.',
            id="console.E004",
        )
    theme = getattr(settings, "UNFOLD", {})
    if missing := [name for name in OF_THEME if not theme.get(name)]:
        yield CheckWarning(
            f"UNFOLD has no {' and no '.join(missing)}, so the console lacks its start page or its"
            " menu.",
            hint="Set UNFOLD to console.theme.UNFOLD, with your own title.",
            id="console.W001",
        )


def _command() -> Iterator[CheckMessage]:
    """Report that Django finds the engine's command `saga`, which knows neither policy nor log."""
    installed = [config.name for config in apps.get_app_configs()]
    if "sagas" in installed[: installed.index("console")]:
        yield Error(
            "manage.py saga is the engine's command, without the rights and the log of the"
            " console.",
            hint='Put "console" before "sagas" in INSTALLED_APPS.',
            id="console.E005",
        )
