"""UUIDv7 identifiers (RFC 9562). Rows created together lie together in an index."""

from uuid import UUID

import uuid_utils.compat

__all__ = ["lowest_id", "uuid7"]

# RFC 9562, section 5.7: the first 48 bits are milliseconds since 1970.
BITS, BITS_BELOW = 48, 80


def uuid7() -> UUID:
    """Return a new UUIDv7."""
    return uuid_utils.compat.uuid7()


def lowest_id(seconds: float) -> UUID:
    """Return the lowest UUIDv7 of a time, given in seconds since 1970."""
    milliseconds = min(max(int(seconds * 1000), 0), 2**BITS - 1)
    return UUID(int=milliseconds << BITS_BELOW)
