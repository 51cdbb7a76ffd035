"""The registry of services, and the names that follow from it."""

import pytest

from services import ALIASES, NAMES, OWNERS, SERVICES, VARIABLES
from services.declaration import Service, declare


def test_a_service_has_a_database_of_its_own_unless_it_names_another():
    own, shared = Service("fraud"), Service("fraud", database="default")
    assert (own.alias, own.variable) == ("fraud", "FRAUD_DATABASE_URL")
    assert (shared.alias, shared.variable) == ("default", "DATABASE_URL")


def test_a_service_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="has the service 'fraud' twice"):
        declare([Service("fraud"), Service("fraud", database="default")])


@pytest.mark.parametrize("name", ["Fraud", "fraud-check", "", "1st", "fraud.check"])
def test_a_name_that_cannot_be_an_app_and_a_queue_is_refused(name):
    with pytest.raises(ValueError, match="is unfit"):
        declare([Service(name)])


def test_each_database_has_one_variable_and_one_owner():
    assert ALIASES.keys() == set(NAMES)
    assert VARIABLES.keys() == OWNERS.keys() == {service.alias for service in SERVICES}
    assert {ALIASES[owner] for owner in OWNERS.values()} == VARIABLES.keys()
