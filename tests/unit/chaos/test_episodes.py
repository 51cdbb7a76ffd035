"""Episodes run one after the other, each when it is due."""

import threading

import pytest

from tests.processes import until
from tools.chaos.episodes import EpisodeFailed, EpisodeRunner
from tools.chaos.fault_schedule import Episode


def episode(kind, after):
    return Episode(kind=kind, after=after, seconds=0, choice=0)


def test_an_episode_waits_for_its_orders_and_for_the_one_before_it():
    answered, begun, goes_on = [0], [], threading.Event()

    def run(each):
        begun.append(each.kind)
        assert goes_on.wait(30)
        return f"did {each.kind}"

    episodes = [episode("first", 5), episode("second", 6)]
    runner = EpisodeRunner(episodes, run, answered=lambda: answered[0], notify=lambda line: None)
    runner.start()
    assert begun == []

    answered[0] = 10
    until(lambda: begun == ["first"], "the first one has begun")
    assert not runner.done
    goes_on.set()
    runner.finish()
    assert begun == ["first", "second"]
    assert runner.done == {"did first": 1, "did second": 1}
    assert runner.problems == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EpisodeFailed("The column was not put back."), "The column was not put back."),
        (OSError("No program."), "OSError('No program.')"),
    ],
)
def test_an_episode_that_fails_is_a_problem_and_the_next_one_begins(error, reason):
    said: list[str] = []

    def run(each):
        if each.kind == "bad":
            raise error
        return "went well"

    runner = EpisodeRunner(
        [episode("bad", 1), episode("good", 1)], run, answered=lambda: 1, notify=said.append
    )
    runner.start()
    runner.finish()
    assert runner.problems == [f"bad: {reason}"]
    assert runner.done == {"went well": 1}
    assert said == [
        "bad: begins, with 1 orders answered",
        f"bad: failed. {reason}",
        "good: begins, with 1 orders answered",
        "good: is over. went well",
    ]
