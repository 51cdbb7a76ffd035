import os
import signal
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from sagas import failpoints
from sagas.failpoints import (
    ARMED,
    HITS,
    ONLY,
    SINCE,
    THAWED,
    Action,
    Failpoints,
    Fault,
    InjectedFault,
    Point,
)
from sagas.ids import uuid7

AT_CHARGE = (Point.NOT_BEGUN, "payments.charge")


class Row(namedtuple("Row", ["saga", "type", "target"])):
    def recipients(self):
        return (self.target,) if self.target else ()


@pytest.fixture
def place(tmp_path):
    (tmp_path / ARMED).mkdir()
    return Failpoints(tmp_path)


def arm(place, action, rule=""):
    fault = Fault(*AT_CHARGE, action)
    (place.directory / ARMED / fault.name).write_text(rule)
    return fault


def hits(place, fault):
    return list((place.directory / HITS).glob(f"{fault.name}@*"))


def row(saga=None, target="payments.charge"):
    return Row(saga or uuid7(), "order.created", target)


def test_they_are_off_unless_the_environment_names_a_directory():
    assert "FAILPOINTS" not in os.environ
    assert failpoints.reach is failpoints.reach_each is failpoints._nothing


def test_a_fault_that_is_armed_happens_once_and_leaves_a_record(place):
    fault, here = arm(place, Action.RAISE), row()
    with pytest.raises(InjectedFault):
        place.reach(*AT_CHARGE, [here])
    place.reach(*AT_CHARGE, [here])
    (record,) = hits(place, fault)
    assert str(here.saga) in record.read_text()


def test_of_many_threads_that_reach_it_at_once_one_suffers_the_fault(place):
    arm(place, Action.RAISE)

    def suffers(_):
        try:
            place.reach(*AT_CHARGE)
        except InjectedFault:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(suffers, range(64))) == 1


def test_a_fault_ignores_other_points_other_steps_and_older_sagas(place):
    older = row()
    fault = arm(place, Action.RAISE, f"{SINCE} {uuid7()}")
    place.reach(Point.COMMITTED, "payments.charge", [row()])
    place.reach(Point.NOT_BEGUN, "payments.refund", [row()])
    place.reach(*AT_CHARGE, [older])
    place.reach(*AT_CHARGE, [])
    assert (place.directory / ARMED / fault.name).exists()


def test_a_fault_of_one_saga_ignores_older_and_newer_ones(place):
    older, its_own, newer = row(), row(), row()
    fault = arm(place, Action.RAISE, f"{ONLY} {its_own.saga}")
    place.reach(*AT_CHARGE, [older, newer])
    assert (place.directory / ARMED / fault.name).exists()
    with pytest.raises(InjectedFault):
        place.reach(*AT_CHARGE, [newer, its_own])


def test_outbox_rows_reach_a_point_by_their_target_or_event_type(place):
    arm(place, Action.RAISE)
    place.reach_each(Point.NOT_BEGUN, [row(target="inventory.reserve"), row(target=None)])
    with pytest.raises(InjectedFault):
        place.reach_each(Point.NOT_BEGUN, [row(target="inventory.reserve"), row()])


def reaching(place):
    code = "from sagas.failpoints import Point, reach; reach(Point.NOT_BEGUN, 'payments.charge')"
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "FAILPOINTS": str(place.directory)}
    )


def test_a_process_is_killed(place):
    fault = arm(place, Action.KILL)
    assert reaching(place).wait(60) == -signal.SIGKILL
    assert len(hits(place, fault)) == 1


def test_a_process_is_frozen_and_leaves_a_file_when_it_continues(place):
    fault = arm(place, Action.FREEZE)
    process = reaching(place)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not (place.directory / THAWED / fault.name).exists()
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
        assert (place.directory / THAWED / fault.name).exists()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
