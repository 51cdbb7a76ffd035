"""Assigns each service's models to its database."""

from typing import Any

from django.db.models import Model

__all__ = ["ServiceRouter"]

ALIASES = {"payments": "payments", "inventory": "inventory"}


class ServiceRouter:
    """Send each service's models to its own database, and all others to the orders database."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """Return the alias of a model's service."""
        return ALIASES.get(model._meta.app_label, "default")

    db_for_write = db_for_read

    def allow_relation(self, first: Model, second: Model, **hints: Any) -> bool:
        """Forbid relations across databases."""
        return self.db_for_read(type(first)) == self.db_for_read(type(second))

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Create a service's tables in its own database only."""
        return ALIASES.get(app_label, "default") == db
