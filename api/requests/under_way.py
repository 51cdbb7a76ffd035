"""Lets the log of staff know the request under way, with the address behind our proxies."""

from api.requests.client_ip import client_ip
from staff import middleware
from staff.middleware import Handler

__all__ = ["remember_request"]


def remember_request(get_response: Handler) -> Handler:
    """Return the middleware."""
    return middleware.remember_request(get_response, client_ip)
