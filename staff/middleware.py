"""Lets the log of staff know the request under way: its user, and the address of its client."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from staff.context import RequestUnderWay, request_under_way
from staff.unsettled import collected

__all__ = ["Handler", "remember_request"]

Handler = Callable[[HttpRequest], HttpResponseBase]


def remember_request(
    get_response: Handler, find_address: Callable[[HttpRequest], str | None] | None = None
) -> Handler:
    """Return the middleware. `staff.logins` forgets the request once its answer is sent.

    Entries about failed writes are added before the answer. `find_address` returns the address of
    the client; by default that of the connection, which is a proxy's if there is one.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request_under_way.set(RequestUnderWay(request, find_address or _peer))
        with collected():
            return get_response(request)

    return middleware


def _peer(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR")
