"""Check the secret key (bearer or basic authentication) and the API version of a request."""

import base64
import binascii
import hmac
import re

from tools.stripe_sandbox.api_objects import API_VERSION
from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.http import Request

__all__ = ["authenticate", "version"]

VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?")


def authenticate(request: Request, api_key: str) -> None:
    """Raise a 401 error unless the request has the secret key."""
    key = _key(request.headers.get("authorization", ""))
    if not key:
        raise ApiError("You did not provide an API key. Send it as a bearer token.", status=401)
    if not key.startswith("sk_test_"):
        raise ApiError("The sandbox accepts only test keys: sk_test_….", status=401)
    if not hmac.compare_digest(key.encode(), api_key.encode()):
        raise ApiError(f"Invalid API Key provided: sk_test_****{key[-4:]}", status=401)


def version(request: Request) -> str:
    """Return the requested API version. The sandbox always answers in the format of API_VERSION."""
    version = request.headers.get("stripe-version", API_VERSION)
    if not VERSION.fullmatch(version):
        raise ApiError(
            f"Invalid Stripe API version: {version!r}. The sandbox implements {API_VERSION}."
        )

    return version


def _key(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()

    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""

    return ""
