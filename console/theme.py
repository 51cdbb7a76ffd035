"""The settings of django-unfold with which the console has its start page and its menu.

from console.theme import UNFOLD as CONSOLE

UNFOLD = {**CONSOLE, "SITE_TITLE": "My shop"}
"""

from collections.abc import Mapping
from typing import Any

from django.templatetags.static import static

__all__ = ["UNFOLD"]


def _stylesheet(request: Any) -> str:
    return static("console/console.css")


def _icon(request: Any) -> str:
    return static("console/icon.svg")


UNFOLD: Mapping[str, Any] = {
    "SITE_TITLE": "Sagas",
    "SITE_HEADER": "Sagas",
    "SITE_SYMBOL": "account_tree",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "STYLES": [_stylesheet],
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "console.dashboard.sections.add_sections",
    "SIDEBAR": {"navigation": "console.navigation.navigation"},
}
