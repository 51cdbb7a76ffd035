"""The broker stores its data, evicts nothing, is no replica, and accepts writes."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.registry import probe
from doctor.runner import one_line
from doctor.servers import broker_client

__all__ = ["broker"]

KEPT_SECONDS = 10

ASK = "Ask the broker's operator, or allow INFO and CONFIG GET to this user."


@probe("broker", proves="the broker stores its data, evicts nothing, and accepts writes")
def broker(options: Options) -> Sequence[Job]:
    return [Job("broker", _broker)]


def _broker() -> Iterator[Finding]:
    with broker_client() as client:
        info = _info(client)
        yield _persistence(client, info)
        yield _eviction(client, info)
        yield _role(info)
        yield _accepts_writes(client)


def _info(client: Redis) -> Mapping[str, Any]:
    try:
        answer: Any = client.info()
    except ResponseError:
        return {}
    return dict(answer)


def _setting(client: Redis, name: str) -> str | None:
    """Return a setting of the broker; None if this user may not read it."""
    try:
        answer: Any = client.config_get(name)
    except ResponseError:
        return None
    return {_text(key): _text(given) for key, given in answer.items()}.get(name)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _persistence(client: Redis, info: Mapping[str, Any]) -> Finding:
    if info.get("aof_enabled") or _setting(client, "appendonly") == "yes":
        return proved("broker: stores its data in an append-only file")
    snapshots = _setting(client, "save")
    if snapshots:
        return proved(f"broker: stores its data in snapshots (save {snapshots})")
    if snapshots is None:
        return unknown("broker: this user may not read whether it stores its data", ASK)
    return fault(
        "broker: stores nothing, so a restart of it delays every order under way",
        "Set appendonly yes.",
    )


def _eviction(client: Redis, info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy") or _setting(client, "maxmemory-policy")
    if policy is None:
        return unknown("broker: this user may not read its maxmemory-policy", ASK)
    if policy == "noeviction":
        return proved("broker: maxmemory-policy noeviction")
    return fault(
        f"broker: maxmemory-policy {policy}, so it drops messages when its memory is full",
        "Set maxmemory-policy noeviction.",
    )


def _role(info: Mapping[str, Any]) -> Finding:
    role, version = info.get("role"), info.get("valkey_version") or info.get("redis_version")
    if role is None:
        return unknown("broker: this user may not read its role", ASK)
    if role == "master":
        return proved(f"broker: primary, version {version}")
    return fault(
        f"broker: is a {role}, which refuses writes",
        "Set CELERY_BROKER_URL or REDIS_URL to the primary.",
    )


def _accepts_writes(client: Redis) -> Finding:
    """Write a key of our own that expires, and delete it."""
    key = f"saga:doctor:{secrets.token_hex(8)}"
    try:
        client.set(key, "1", ex=KEPT_SECONDS)
        client.delete(key)
    except RedisError as error:
        return fault(
            f"broker: refuses a write: {one_line(error)}",
            "Free memory or disk there, or connect to the primary.",
        )
    return proved("broker: accepts a write")
