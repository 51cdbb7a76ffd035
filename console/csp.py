"""What the admin's theme needs of the content security policy, for the admin's own paths alone.

Its menus evaluate expressions that stand in the pages (Alpine), and its colours and those of htmx
are inline styles. Scripts still come from files of ours only.
"""

from collections.abc import Callable

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

__all__ = ["theme_policy"]

NEEDED = {"script-src": ["'self'", "'unsafe-eval'"], "style-src": ["'self'", "'unsafe-inline'"]}

Handler = Callable[[HttpRequest], HttpResponseBase]


def theme_policy(get_response: Handler) -> Handler:
    """Widen the policy of the admin's pages by what the theme needs. A middleware, inside of the
    policy's own.
    """
    widened: Handler = csp_update(NEEDED)(get_response)

    def handle(request: HttpRequest) -> HttpResponseBase:
        inside = request.path.startswith(reverse("admin:index"))
        return widened(request) if inside else get_response(request)

    return handle
