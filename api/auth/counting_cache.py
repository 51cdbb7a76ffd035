"""Django's Redis cache with counters."""

from collections.abc import Sequence
from typing import Any

from django.core.cache.backends.redis import RedisCache

__all__ = ["CountingCache"]


class CountingCache(RedisCache):
    """Increments several counters in one round trip; `incr` needs two for each."""

    def count(self, keys: Sequence[str], *, seconds: int) -> list[int]:
        """Add one to each counter, renew its expiry, and return the new values."""
        client: Any = self._cache.get_client(None, write=True)
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                full_key = self.make_and_validate_key(key)
                pipeline.incr(full_key)
                pipeline.expire(full_key, seconds)
            return [int(counted) for counted in pipeline.execute()[::2]]
