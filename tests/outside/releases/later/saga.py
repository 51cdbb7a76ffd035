"""The plan of new orders in this release."""

from orders.saga import PLACE_ORDER
from tests.outside.releases.plans import LATER

PLACE_ORDER.plan = LATER
