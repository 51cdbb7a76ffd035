"""What the process refuses to start without, and what a browser may load with a page of ours."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "allowed_hosts",
    "cache",
    "is_exposed",
    "proxy_ssl_header",
    "secret_key",
    "signing_keys",
]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

# Django's own check asks for as much (security.W009), but only warns.
SECRET_KEY_LENGTH = 50
SECRET_KEY_CHARACTERS = 5
INSECURE_PREFIX = "django-insecure-"

SIGNING_KEY_LENGTH = 32

HOW_TO_MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(48))' makes one."

# Nothing from elsewhere, and nothing inline: neither scripts nor handlers nor styles. Swagger's
# icons are data URLs.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}


def secret_key(env: environ.Env, *, exposed: bool) -> str:
    """Return Django's SECRET_KEY; raise ImproperlyConfigured where there is none, or others
    could guess it.
    """
    key: str = env.str("SECRET_KEY", default="")
    if not key:
        raise ImproperlyConfigured(f"SECRET_KEY is not set. {HOW_TO_MAKE}")
    weak = (
        len(key) < SECRET_KEY_LENGTH
        or len(set(key)) < SECRET_KEY_CHARACTERS
        or key.startswith(INSECURE_PREFIX)
    )
    if weak and exposed:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not fit for production: it needs {SECRET_KEY_LENGTH} random characters and must not begin "
            f"with {INSECURE_PREFIX!r}. {HOW_TO_MAKE}"
        )
    return key


def allowed_hosts(env: environ.Env, *, debug: bool) -> list[str]:
    """Return Django's ALLOWED_HOSTS; raise ImproperlyConfigured where it would answer to none."""
    hosts: list[str] = env.list("ALLOWED_HOSTS", default=[])
    if hosts or debug:
        return hosts or [*LOOPBACK]
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is not set. Name the hosts this service answers to, separated by commas: api.example.com."
    )


def is_exposed(hosts: list[str], *, debug: bool) -> bool:
    """Tell whether the service answers to others than this machine: then it must be fit for
    that.
    """
    return not debug and any(host not in LOOPBACK for host in hosts)


def proxy_ssl_header(env: environ.Env) -> tuple[str, str] | None:
    """Return Django's SECURE_PROXY_SSL_HEADER for the name of a header that the proxy in front
    of us always sets.
    """
    name: str = env.str("PROXY_SSL_HEADER", default="")
    return (f"HTTP_{name.upper().replace('-', '_')}", "https") if name else None


def signing_keys(env: environ.Env) -> list[str]:
    """Return the keys of Celery messages, of which the first signs; raise ImproperlyConfigured
    for a short one.
    """
    keys: list[str] = env.list("SAGA_SIGNING_KEYS", default=[])
    if any(len(key) < SIGNING_KEY_LENGTH for key in keys):
        raise ImproperlyConfigured(
            f"A key in SAGA_SIGNING_KEYS is shorter than {SIGNING_KEY_LENGTH} characters. {HOW_TO_MAKE}"
        )
    return keys


def cache(url: str) -> dict[str, Any]:
    """Return Django's default cache. No request waits for it longer than half a second: it only
    counts.
    """
    patience = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25}
    return {
        "BACKEND": "api.auth.counting_cache.CountingCache",
        "LOCATION": url,
        "OPTIONS": patience,
    }
