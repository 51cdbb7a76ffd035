"""The content security policy of the admin's pages, which the theme needs to be wider.

The theme's menus evaluate expressions in the page (Alpine), and the theme and htmx set inline
styles. Scripts still load only from this site.
"""

from collections.abc import Callable

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

__all__ = ["theme_policy"]

THEME_SOURCES = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}

Handler = Callable[[HttpRequest], HttpResponseBase]


def theme_policy(get_response: Handler) -> Handler:
    """Middleware that widens the policy on the admin's paths. It runs inside CSPMiddleware."""
    widened: Handler = csp_update(THEME_SOURCES)(get_response)

    def handle(request: HttpRequest) -> HttpResponseBase:
        in_admin = request.path.startswith(reverse("admin:index"))
        return widened(request) if in_admin else get_response(request)

    return handle
