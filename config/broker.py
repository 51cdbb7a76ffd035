"""The addresses of Redis, for broker and cache. TLS is verified, or the process does not start."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

__all__ = ["broker_url", "redis_url"]

PLAINTEXT, TLS = "redis", "rediss"

# Celery itself prefers these variables to the setting.
# https://docs.celeryq.dev/en/stable/userguide/configuration.html#broker-read-url-broker-write-url
CELERY_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")

VERIFIED = ("required", "CERT_REQUIRED")


def redis_url(env: environ.Env) -> str:
    """Return the address of the cache and the heartbeats. Raises ImproperlyConfigured."""
    return _address(env, "REDIS_URL", env.str("REDIS_URL"))


def broker_url(env: environ.Env, default: str) -> str:
    """Return the address of the broker. Raises ImproperlyConfigured.

    Celery's own variables get the address that was checked, because Celery reads them later.
    """
    for variable in CELERY_VARIABLES:
        if os.environ.get(variable):
            os.environ[variable] = _address(env, variable, os.environ[variable])

    return _address(env, "CELERY_BROKER_URL", env.str("CELERY_BROKER_URL", default="") or default)


def _address(env: environ.Env, variable: str, url: str) -> str:
    """Return an address with the options that make every client verify the server."""
    parts = urlsplit(url)
    if parts.scheme not in (PLAINTEXT, TLS) or ";" in url:
        raise ImproperlyConfigured(
            f"{variable} has the scheme {parts.scheme!r}. Only one Redis or Valkey server works as"
            " broker and cache: use rediss://host:port/0 for TLS, or redis://host:port/0."
        )

    options = dict(parse_qsl(parts.query))
    tls_options = [name for name in options if name.startswith("ssl_")]
    if parts.scheme == PLAINTEXT:
        if tls_options:
            raise ImproperlyConfigured(
                f"{variable} has {tls_options[0]}, but redis:// is not encrypted. Use rediss://."
            )
        return url

    _refuse_unverified(variable, options)
    options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
    if ca_file := env.str("BROKER_CA_FILE", default=""):
        options["ssl_ca_certs"] = ca_file
    _refuse_missing_file(variable, options)
    return parts._replace(query=urlencode(options)).geturl()


def _refuse_unverified(variable: str, options: dict[str, str]) -> None:
    is_verified = options.get("ssl_cert_reqs", "required") in VERIFIED
    if not is_verified or options.get("ssl_check_hostname", "true").lower() != "true":
        raise ImproperlyConfigured(
            f"{variable} turns the verification of the server's certificate off, so anyone between"
            " could read and send messages. Remove ssl_cert_reqs and ssl_check_hostname, and name"
            " the authority of the certificate in BROKER_CA_FILE."
        )


def _refuse_missing_file(variable: str, options: dict[str, str]) -> None:
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            raise ImproperlyConfigured(
                f"The file {options[name]} does not exist. {variable} needs it as {name}"
                " (BROKER_CA_FILE sets ssl_ca_certs)."
            )
