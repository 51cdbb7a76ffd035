"""The PostgreSQL backend of a database that this process has no URL for."""

from typing import Any, NoReturn

from django.db import NotSupportedError
from django.db.backends.postgresql import base

__all__ = ["DatabaseWrapper"]


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that cannot be opened."""

    def get_connection_params(self) -> NoReturn:
        """Raise NotSupportedError.

        It is a database error, so that Celery ignores it where it stores the failure of a task.
        """
        variable: Any = self.settings_dict["NAME"]
        raise NotSupportedError(
            f"{variable} is not set, because the variable SERVICES excludes its service from this "
            f"process. Set {variable}, or send this work to a process that serves it."
        )
