"""Settings without which the process refuses to start, and the Content-Security-Policy."""

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

# Django's check security.W009 has the same limits, but only warns.
SECRET_KEY_LENGTH = 50
SECRET_KEY_CHARACTERS = 5
INSECURE_PREFIX = "django-insecure-"

SIGNING_KEY_LENGTH = 32
DERIVED = "derived"  # as in sagas.celery.signing, which needs the settings

HOW_TO_MAKE_ONE = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"

# Only files of this server: nothing from other hosts, and no inline scripts, handlers or styles.
# Swagger's icons are data URLs.
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
    """Return Django's SECRET_KEY. Raises ImproperlyConfigured if it is missing or guessable."""
    key: str = env.str("SECRET_KEY", default="")
    if not key:
        raise ImproperlyConfigured(f"SECRET_KEY is not set. {HOW_TO_MAKE_ONE}")
    weak = (
        len(key) < SECRET_KEY_LENGTH
        or len(set(key)) < SECRET_KEY_CHARACTERS
        or key.startswith(INSECURE_PREFIX)
    )
    if weak and exposed:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not fit for production. It needs {SECRET_KEY_LENGTH} random characters "
            f"and must not begin with {INSECURE_PREFIX!r}. {HOW_TO_MAKE_ONE}"
        )
    return key


def allowed_hosts(env: environ.Env, *, debug: bool) -> list[str]:
    """Return Django's ALLOWED_HOSTS. Raises ImproperlyConfigured if there is none."""
    hosts: list[str] = env.list("ALLOWED_HOSTS", default=[])
    if hosts or debug:
        return hosts or [*LOOPBACK]
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is not set. Set it to the host names of this service, separated by commas, "
        "for example: api.example.com"
    )


def is_exposed(hosts: list[str], *, debug: bool) -> bool:
    """Whether the service answers other machines, and so must be fit for production."""
    return not debug and any(host not in LOOPBACK for host in hosts)


def proxy_ssl_header(env: environ.Env) -> tuple[str, str] | None:
    """Return Django's SECURE_PROXY_SSL_HEADER for PROXY_SSL_HEADER, a header of our proxy.

    The proxy must always set the header, because clients could send it otherwise.
    """
    name: str = env.str("PROXY_SSL_HEADER", default="")
    return (f"HTTP_{name.upper().replace('-', '_')}", "https") if name else None


def signing_keys(env: environ.Env) -> list[str]:
    """Return the signing keys of Celery messages; the first key signs.

    `derived` stands for the keys that follow from SECRET_KEY, and is the default.

    Raises ImproperlyConfigured if a key is too short.
    """
    keys: list[str] = env.list("SAGA_SIGNING_KEYS", default=[DERIVED])
    if any(len(key) < SIGNING_KEY_LENGTH for key in keys if key != DERIVED):
        raise ImproperlyConfigured(
            f"A key in SAGA_SIGNING_KEYS is shorter than {SIGNING_KEY_LENGTH} characters. "
            f"{HOW_TO_MAKE_ONE}"
        )
    return keys


def cache(url: str) -> dict[str, Any]:
    """Return Django's default cache.

    A request waits for it half a second at most, because it only holds counters.
    """
    timeouts = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25}
    return {
        "BACKEND": "api.auth.counting_cache.CountingCache",
        "LOCATION": url,
        "OPTIONS": timeouts,
    }
