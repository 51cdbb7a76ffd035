"""The settings of the workers that `saga_workers` starts: those of the project, with the databases
of the test and short times.

Only such a worker imports this module.
"""

import json
import os
from importlib import import_module
from typing import Any

from sagas.testing.variables import DATABASE_NAMES, HOST_SETTINGS, TIMES

# Without a project, such as in a tool that imports all modules, there is nothing to take over.
_host = import_module(os.environ.get(HOST_SETTINGS, "django.conf.global_settings"))
_names: dict[str, str] = json.loads(os.environ.get(DATABASE_NAMES, "{}"))

globals().update({name: getattr(_host, name) for name in dir(_host) if name.isupper()})

DATABASES: dict[str, Any] = {
    alias: {**database, "NAME": _names.get(alias, database["NAME"])}
    for alias, database in _host.DATABASES.items()
}
SAGAS: dict[str, Any] = {**getattr(_host, "SAGAS", {}), **TIMES}
