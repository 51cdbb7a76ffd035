"""An order through an unchanged skeleton. `tests.system.test_added_service` runs it in a copy."""

import pytest
from django.apps import apps

from tests.processes import until
from tests.system.harness import assert_sound, ended, order, outcome, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

SCORING = "scoring"


def test_an_order_goes_through_every_step_of_the_skeleton(api_client):
    with system() as workers:
        placed = order(api_client, "good")
        until(lambda: ended(placed), "the order has ended", process=workers[SCORING])

    steps = apps.get_model(SCORING, "Inbox").objects.filter(saga=placed)
    assert outcome(placed) == ("fulfilled", "")
    assert dict(steps.values_list("step", "state")) == {
        "scoring.score": "done",
        "scoring.label": "done",
    }
    assert_sound()
