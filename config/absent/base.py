"""PostgreSQL's backend, without a server."""

from typing import Any, NoReturn

from django.db import NotSupportedError
from django.db.backends.postgresql import base

__all__ = ["DatabaseWrapper"]


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that nobody can open."""

    def get_connection_params(self) -> NoReturn:
        """Refuse, in words for whoever started the process. A database error, so that Celery's
        failures get by it.
        """
        name: Any = self.settings_dict["NAME"]
        raise NotSupportedError(
            f"{name} is not set: by its variable SERVICES, this process serves none whose data lie there."
        )
