"""The services of this project, each declared once in `services.registry`.

The package imports only the standard library. So the settings, the local set-up and the tests can
all read it, before Django is configured and without it.
"""

from services.declaration import BeatEntry, Page, Service
from services.registry import SERVICES

__all__ = [
    "ALIASES",
    "NAMES",
    "OWNERS",
    "SERVICES",
    "VARIABLES",
    "BeatEntry",
    "Page",
    "Service",
]

# The names of all services, in the order of the registry. A name is also the queue.
NAMES = tuple(service.name for service in SERVICES)

# The alias of each service's database in Django, by the name of the service.
ALIASES = {service.name: service.alias for service in SERVICES}

# The environment variable with the URL of each database, by its alias.
VARIABLES = {service.alias: service.variable for service in SERVICES}

# The name of the service that a database belongs to, by its alias: the first that uses it.
OWNERS = {service.alias: service.name for service in reversed(SERVICES)}
