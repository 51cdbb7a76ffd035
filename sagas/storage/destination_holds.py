"""The holds on the destinations of a step, as the claim of an external step reads them.

The destination of a message is known once its request is prepared. So the claim returns the holds,
and the run compares them with its requests (`sagas.execution.held_calls`).
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias
from uuid import UUID

import msgspec

__all__ = ["LISTED", "NO_HELD_DESTINATIONS", "HeldDestinations", "decode"]

# The destinations of a step that are on hold, each with the sagas that may call it all the same.
HeldDestinations: TypeAlias = Mapping[str, Collection[UUID]]

NO_HELD_DESTINATIONS: HeldDestinations = {}

# As a column: the destinations of a step that are on hold, as JSON; null without any
# A manual hold stops every saga. The probe of an automatic hold passes it, and so does the probe of
# an automatic hold on the whole step.
LISTED = """(SELECT jsonb_object_agg(d.destination,
          CASE WHEN d.automatic
               THEN (SELECT COALESCE(jsonb_agg(p.probe), '[]') FROM {hold} p
                      WHERE p.automatic AND p.probe IS NOT NULL
                        AND (p.id = d.id OR p.step = d.calling_step))
               ELSE '[]' END)::text
  FROM {hold} d WHERE d.calling_step = %(step)s)"""

_decoder = msgspec.json.Decoder(dict[str, list[UUID]])


def decode(text: str | None) -> HeldDestinations:
    """Return the holds of the column `LISTED`."""
    return _decoder.decode(text) if text else NO_HELD_DESTINATIONS
