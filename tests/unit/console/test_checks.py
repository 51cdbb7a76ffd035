"""The checks of the console: each says how the project is set up right."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.urls import clear_url_caches

from console.checks import check_console


def ids():
    return [found.id for found in check_console()]


def test_this_project_is_set_up_right():
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("CONSOLE_LOG_DAYS", 300, "console.E001"),
        ("AUTH_USER_MODEL", "shop.User", "console.E002"),
        ("UNFOLD", {"SITE_TITLE": "Shop"}, "console.W001"),
    ],
)
def test_a_setting_with_which_the_console_does_not_work_is_reported(settings, name, value, found):
    setattr(settings, name, value)
    assert ids() == [found]


def test_a_console_without_addresses_is_reported(settings, monkeypatch):
    module: Any = ModuleType("no_urls")
    module.urlpatterns = []
    monkeypatch.setitem(sys.modules, "no_urls", module)
    settings.ROOT_URLCONF = "no_urls"
    clear_url_caches()
    assert ids() == ["console.E003"]
    clear_url_caches()


def test_a_console_without_its_theme_before_the_admin_is_reported(monkeypatch):
    configs = list(apps.get_app_configs())
    last = sorted(configs, key=lambda config: config.name == "unfold")
    monkeypatch.setattr(apps, "get_app_configs", lambda: last)
    assert ids() == ["console.E004"]


def test_a_console_behind_the_engine_is_reported(monkeypatch):
    """Django would find the engine's command `saga`, which asks for no right."""
    configs = list(apps.get_app_configs())
    last = sorted(configs, key=lambda config: config.name == "console")
    monkeypatch.setattr(apps, "get_app_configs", lambda: last)
    assert ids() == ["console.E005"]
