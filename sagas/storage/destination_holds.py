"""The holds on the destinations of a step, as the claim of an external step reads them.

The destination of a message is known once its request is prepared. So the claim returns the holds,
and the run compares them with its requests (`sagas.execution.held_calls`).
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

__all__ = ["LISTED", "NO_DESTINATION_HOLDS", "DestinationHolds", "decode"]


class DestinationHolds(NamedTuple):
    """The destinations of a step that are on hold.

    `probes`: the sagas that may call a destination all the same, by destination. An entry without
    sagas is a destination that no saga may call.
    """

    probes: Mapping[str, Collection[UUID]]

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

# As a column: the destinations of a step that are on hold, as JSON; null without any
# A manual hold stops every saga. The probe of an automatic hold passes it, and so does the probe of
# an automatic hold on the whole step.
LISTED = """(SELECT jsonb_object_agg(d.destination,
          CASE WHEN d.automatic
               THEN (SELECT COALESCE(jsonb_agg(p.probe), '[]') FROM {hold} p
                      WHERE p.automatic AND p.probe IS NOT NULL AND p.probed_at IS NOT NULL
                        AND (p.id = d.id OR p.step = d.calling_step))
               ELSE '[]' END)::text
  FROM {hold} d WHERE d.calling_step = %(step)s)"""

_decoder = msgspec.json.Decoder(dict[str, list[UUID]])


def decode(text: str | None) -> DestinationHolds:
    """Return the holds of the column `LISTED`."""
    return DestinationHolds(_decoder.decode(text)) if text else NO_DESTINATION_HOLDS
