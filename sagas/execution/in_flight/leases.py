"""The leases of calls in flight: they are extended from a call's acceptance to its recording."""

import logging
from collections import defaultdict
from uuid import UUID

from django.db import connections

from sagas.execution.in_flight.executor import Executor
from sagas.storage import inbox
from sagas.storage.registry import Service

__all__ = ["extend"]

logger = logging.getLogger(__name__)


def extend(executor: Executor) -> bool:
    """Extend the leases of all calls; return whether all were extended.

    A locked row or an error of one claim delays no other claim. After an error that ends the
    connection, the other claims of that database wait for the next time.
    """
    is_complete = True
    unusable: set[str] = set()
    for (service, claim), sagas in _claims(executor).items():
        if service.alias in unusable:
            continue
        try:
            extended = inbox.extend(service, claim, sagas)
            is_complete &= len(extended) == len(set(sagas))
        except Exception as error:
            logger.warning("Leases of %s could not be extended: %r", service.name, error)
            is_complete = False
            connections[service.alias].close_if_unusable_or_obsolete()
            if connections[service.alias].connection is None:
                unusable.add(service.alias)
    return is_complete


def _claims(executor: Executor) -> dict[tuple[Service, UUID], list[UUID]]:
    claims: dict[tuple[Service, UUID], list[UUID]] = defaultdict(list)
    with executor.changed:
        for call in executor.calls:
            if call.claimed.claim is not None:
                claims[call.service, call.claimed.claim].append(call.saga)
    return claims
