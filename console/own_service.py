"""The service whose database has the tables of the console."""

from django.db import DEFAULT_DB_ALIAS

from sagas.storage.registry import get_service, service_names

__all__ = ["own_service"]


def own_service() -> str:
    """Return its name, by which a page says whose database does not answer."""
    names = (name for name in service_names() if get_service(name).alias == DEFAULT_DB_ALIAS)
    return next(names, DEFAULT_DB_ALIAS)
