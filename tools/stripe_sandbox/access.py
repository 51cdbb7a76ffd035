"""Who may call, in which version: a secret key of test mode, as bearer or basic authentication."""

import base64
import binascii
import hmac
import re

from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.shapes import API_VERSION
from tools.stripe_sandbox.wire import Request

__all__ = ["authenticate", "version"]

VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?")


def authenticate(request: Request, api_key: str) -> None:
    """Raise the 401 of a request that does not show the secret key."""
    given = _key(request.headers.get("authorization", ""))
    if not given:
        raise ApiError("You did not provide an API key. Send it as a bearer token.", status=401)
    if not given.startswith("sk_test_"):
        raise ApiError("The sandbox takes only secret keys of test mode: sk_test_….", status=401)
    if not hmac.compare_digest(given.encode(), api_key.encode()):
        raise ApiError(f"Invalid API Key provided: sk_test_****{given[-4:]}", status=401)


def version(request: Request) -> str:
    """Return the API version that the request asks for; the sandbox has the shapes of one, and
    answers with those.
    """
    asked = request.headers.get("stripe-version", API_VERSION)
    if not VERSION.fullmatch(asked):
        raise ApiError(f"Invalid Stripe API version: {asked!r}. The sandbox speaks {API_VERSION}.")
    return asked


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
