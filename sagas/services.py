"""The services and homes of a project, and the plans of their sagas, for a tool that looks at all.

A service is an app with the tables of messages. A home is a service in which sagas start.
"""

from sagas.definition.plan import Plan, service_name
from sagas.storage.registry import (
    Home,
    Service,
    UnknownService,
    get_home,
    get_service,
    home_names,
    service_names,
    service_of_step,
)
from sagas.storage.session_settings import stored_for_role

__all__ = [
    "Home",
    "Plan",
    "Service",
    "UnknownService",
    "get_home",
    "get_service",
    "home_names",
    "service_name",
    "service_names",
    "service_of_step",
    "stored_for_role",
]
