"""TLS to each server that is not on this machine, with a verified certificate."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connections
from redis import Redis

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe
from doctor.servers import broker_client, cache_client, database_jobs, is_loopback, rows

__all__ = ["tls"]

VERIFIED = ("verify-ca", "verify-full")
SERVER_SIDE = """
SELECT ssl, host(inet_client_addr()) FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""


@probe("tls", proves="TLS with a verified certificate to each server on another machine")
def tls(options: Options) -> Sequence[Job]:
    return [
        *database_jobs(_database),
        Job("broker", _broker),
        Job("cache", lambda: _redis("cache", cache_client(), "REDIS_URL")),
        Job("payment gateway", _gateway),
    ]


def _database(alias: str, label: str) -> Iterator[Finding]:
    connections[alias].ensure_connection()
    session: Any = connections[alias].connection
    host = session.info.hostaddr or session.info.host
    mode = session.info.get_parameters().get("sslmode", "prefer")
    ((server_side, client),) = rows(alias, SERVER_SIDE)

    if is_loopback(host):
        yield from _behind_pooler(label, server_side, client)
    elif not session.pgconn.ssl_in_use:
        yield fault(
            f"{label}: no TLS to {host}",
            "Turn on TLS there, and add ?sslmode=verify-full&sslrootcert=… to the URL.",
        )
    elif mode not in VERIFIED:
        yield fault(
            f"{label}: TLS to {host}, but its certificate is not verified (sslmode {mode})",
            "Add ?sslmode=verify-full&sslrootcert=… to the URL.",
        )
    else:
        yield proved(f"{label}: TLS to {host}, its certificate is verified (sslmode {mode})")


def _behind_pooler(label: str, server_side: bool, client: str | None) -> Iterator[Finding]:
    """Look at the second part of the way: from a pooler on this machine to the server."""
    if client is None or is_loopback(client):
        yield proved(f"{label}: is on this machine, so it needs no TLS")
    elif server_side:
        yield proved(f"{label}: TLS between a pooler on this machine and the server")
    else:
        yield fault(
            f"{label}: no TLS between the pooler on this machine and the server, which sees "
            f"{client}",
            "Set server_tls_sslmode = verify-full in PgBouncer.",
        )


def _broker() -> Iterator[Finding]:
    with broker_client() as client:
        yield from _redis("broker", client, "CELERY_BROKER_URL or REDIS_URL")


def _redis(label: str, client: Redis, variable: str) -> Iterator[Finding]:
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.connect()
        used = connection._sock
        host = used.getpeername()[0] if used.family != socket.AF_UNIX else ""
        if isinstance(used, ssl.SSLSocket):
            yield _verified(label, host, used)
        elif is_loopback(host):
            yield proved(f"{label}: is on this machine, so it needs no TLS")
        else:
            yield fault(
                f"{label}: no TLS to {host}",
                f"Turn on TLS there, and set {variable} to a URL that begins with rediss://.",
            )
    finally:
        pool.release(connection)


def _verified(label: str, host: str, used: ssl.SSLSocket) -> Finding:
    if used.context.verify_mode == ssl.CERT_REQUIRED:
        return proved(f"{label}: {used.version()} to {host}, its certificate is verified")
    return fault(
        f"{label}: {used.version()} to {host}, but its certificate is not verified",
        "Remove ssl_cert_reqs from the URL, and add ?ssl_ca_certs=… for your own authority.",
    )


def _gateway() -> Iterator[Finding]:
    if settings.PAYMENT_GATEWAY != "stripe":
        yield proved(
            f"payment gateway: {settings.PAYMENT_GATEWAY} is not Stripe, so no key of Stripe is "
            "sent"
        )
        return
    base = urlsplit(settings.STRIPE_API_BASE)
    if base.scheme == "https":
        yield proved(f"payment gateway: https to {base.hostname}")
    elif is_loopback(base.hostname or "-"):
        yield proved("payment gateway: is on this machine, so it needs no TLS")
    else:
        yield fault(
            f"payment gateway: no TLS to {base.hostname}",
            "Set STRIPE_API_BASE to an https URL, or remove it.",
        )
