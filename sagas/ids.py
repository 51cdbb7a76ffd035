"""Identifiers: UUIDv7 (RFC 9562), so that rows made together lie together in an index."""

from uuid import UUID

import uuid_utils.compat

__all__ = ["uuid7"]


def uuid7() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.compat.uuid7()
