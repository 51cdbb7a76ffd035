"""The holds on the destinations of a step, as the claim of an external step reads them.

The destination of a message is known once its request is prepared. So the claim returns the holds,
and the run compares them with its requests (`sagas.execution.held_calls`). If many are on hold, the
run asks for the destinations of its batch instead, so the cost does not grow with their number.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from sagas import sql
from sagas.storage.registry import Service

__all__ = [
    "LISTED",
    "MOST_LISTED",
    "NO_DESTINATION_HOLDS",
    "DestinationHolds",
    "among",
    "decode",
    "for_service",
]


class DestinationHolds(NamedTuple):
    """Destinations of a step that are on hold.

    `probes`: the sagas that may call a destination all the same, by destination. An entry without
    sagas is a destination that no saga may call. `complete`: no other destination of the step is on
    hold. If not, `among` finds those of a batch.
    """

    probes: Mapping[str, Collection[UUID]]
    complete: bool = True

    def stops(self, saga: UUID, destination: str | None) -> bool:
        """Tell whether a saga may not call a destination now."""
        return bool(destination) and saga not in self.probes.get(destination or "", (saga,))

    def lets_pass(self, saga: UUID, destination: str | None) -> bool:
        """Tell whether a saga may call a destination although it is on hold, because it probes."""
        return saga in self.probes.get(destination or "", ())

    def is_probe(self, saga: UUID) -> bool:
        """Tell whether a saga is a probe of any of these holds."""
        return any(saga in probes for probes in self.probes.values())


NO_DESTINATION_HOLDS = DestinationHolds({})

# The most destinations that a claim returns. With more on hold, a run asks for those of its batch.
MOST_LISTED = 20

# The holds of the rows `d` as JSON; null without any
# A manual hold stops every saga. The probe of an automatic hold passes it, and so does the probe of
# an automatic hold on the whole step.
AS_JSON = """jsonb_object_agg(d.destination,
          CASE WHEN d.automatic
               THEN (SELECT COALESCE(jsonb_agg(p.probe), '[]') FROM {hold} p
                      WHERE p.automatic AND p.probe IS NOT NULL AND p.probed_at IS NOT NULL
                        AND (p.id = d.id OR p.step = d.calling_step))
               ELSE '[]' END)::text"""

# As a column: the destinations of a step that are on hold, or `null` as JSON if they are too many
LISTED = """(SELECT CASE WHEN count(*) > {most} THEN 'null' ELSE {as_json} END
  FROM (SELECT id, calling_step, destination, automatic FROM {hold}
         WHERE calling_step = %(step)s LIMIT {most} + 1) d)"""

# A saga that probes one of the destinations may be about to call another one.
AMONG = """
SELECT {as_json} FROM {hold} d
 WHERE d.calling_step = %(step)s
   AND (d.destination = ANY(%(destinations)s::text[]) OR d.probe = ANY(%(sagas)s::uuid[]))
"""

_decoder = msgspec.json.Decoder(dict[str, list[UUID]] | None)


def for_service(service: Service, statement: str) -> str:
    """Return a statement with the table names of a service filled in."""
    as_json = AS_JSON.format(hold=service.hold)
    return statement.format(hold=service.hold, as_json=as_json, most=MOST_LISTED)


def decode(text: str | None) -> DestinationHolds:
    """Return the holds of the column `LISTED`."""
    if not text:
        return NO_DESTINATION_HOLDS
    probes = _decoder.decode(text)
    return DestinationHolds({}, complete=False) if probes is None else DestinationHolds(probes)


def among(service: Service, step: str, calls: Mapping[UUID, str | None]) -> DestinationHolds:
    """Return the holds on the destinations that sagas are about to call, or that they probe."""
    params = {
        "step": step,
        "destinations": sorted(set(filter(None, calls.values()))),
        "sagas": sql.array_literal(calls),
    }
    [(text,)] = sql.fetch(service.alias, for_service(service, AMONG), params)
    return decode(text)
