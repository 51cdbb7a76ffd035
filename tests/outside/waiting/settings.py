"""The tests' settings with the slow gateway."""

from tests.settings import *  # noqa: F403

PAYMENT_GATEWAY = "tests.outside.waiting.gateway.WaitingGateway"
