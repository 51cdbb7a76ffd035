"""The plan of new orders in this release."""

from orders.saga import PLACE_ORDER
from tests.outside.releases.plans import EARLIER

PLACE_ORDER.plan = EARLIER
