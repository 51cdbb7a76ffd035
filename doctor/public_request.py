"""A request to the public address of the service, as a client sends it."""

import ssl
from collections.abc import Mapping

import httpx

__all__ = ["get"]

# Seconds, below the limit of a job.
TIMEOUT = 4.0


def get(url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Send a GET request, follow no redirect, and verify the certificate.

    It uses no proxy of the environment. SSL_CERT_FILE may name the certificates of an own
    authority. Raises httpx.HTTPError.
    """
    with httpx.Client(
        verify=ssl.create_default_context(), trust_env=False, timeout=TIMEOUT
    ) as client:
        return client.get(url, headers=dict(headers or {}))
