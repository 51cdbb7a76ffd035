"""Assigns each service's models to its database."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from services import ALIASES

__all__ = ["ServiceRouter"]


class ServiceRouter:
    """Send each service's models to its database, and all others to the default database."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """Return the alias of a model's service."""
        return ALIASES.get(model._meta.app_label, DEFAULT_DB_ALIAS)

    db_for_write = db_for_read

    def allow_relation(self, first: Model, second: Model, **hints: Any) -> bool:
        """Forbid relations across databases."""
        return self.db_for_read(type(first)) == self.db_for_read(type(second))

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Create a service's tables in its database only."""
        return ALIASES.get(app_label, DEFAULT_DB_ALIAS) == db
