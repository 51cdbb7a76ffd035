"""A replaced step treats only its own saga differently, also within a batch."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from sagas.definition.events import Event
from sagas.definition.handlers import (
    AsyncExternalStep,
    Delivery,
    ExternalStep,
    NoContext,
    StepDefinition,
    Unknown,
)
from sagas.ids import uuid7
from sagas.testing.replacements import Replacement, Script, substitute

OURS, OTHER = uuid7(), uuid7()
UNKNOWN = Unknown(reason="The story says so.")


class Asked(Event, frozen=True, kw_only=True):
    type = "asked"
    answer: str


class Ask(ExternalStep):
    def __init__(self):
        self.prepared, self.called = [], []

    def prepare(self, batch):
        self.prepared += [delivery.saga for delivery in batch]
        return [str(delivery.saga) for delivery in batch]

    def call(self, requests):
        self.called += requests
        return [f"answer to {request}" for request in requests]

    def record(self, batch, answers):
        return [Asked(answer=answer) for answer in answers]


class AskInALoop(Ask, AsyncExternalStep):
    async def call(self, requests):  # type: ignore[override]  # the engine awaits it
        await asyncio.sleep(0)
        return Ask.call(self, requests)


@pytest.fixture
def batch():
    return [Delivery(saga=saga, context=NoContext()) for saga in (OTHER, OURS)]


def scripted(**options):
    script = Script(OURS)
    script.add("ours.step", Replacement("unknown", lambda: UNKNOWN, times=1, **options))
    return script


def replaced(handler, script):
    definition = StepDefinition(name="ours.step", handler=handler, accepts=NoContext)
    return substitute(definition, script).handler


def run(step, batch):
    requests = step.prepare(batch)
    answers = step.call(requests)
    if asyncio.iscoroutine(answers):
        answers = asyncio.run(answers)
    return step.record(batch, answers)


def asked(saga):
    return Asked(answer=f"answer to {saga}")


def test_a_local_step_runs_its_own_code_for_other_sagas(batch):
    seen: list[UUID] = []

    def own(deliveries):
        seen.extend(delivery.saga for delivery in deliveries)
        return [asked(delivery.saga) for delivery in deliveries]

    step = replaced(own, scripted())

    assert step(batch) == [asked(OTHER), UNKNOWN]
    assert step(batch) == [asked(OTHER), asked(OURS)]
    assert seen == [OTHER, OTHER, OURS]


@pytest.mark.parametrize("kind", [Ask, AskInALoop])
def test_an_external_step_asks_only_for_other_sagas(batch, kind):
    original = kind()
    step = replaced(original, scripted())

    assert isinstance(step, AsyncExternalStep) == (kind is AskInALoop)
    assert run(step, batch) == [asked(OTHER), UNKNOWN]
    assert (original.prepared, original.called) == ([OTHER], [str(OTHER)])
    assert run(step, batch) == [asked(OTHER), asked(OURS)]


@pytest.mark.parametrize("kind", [Ask, AskInALoop])
def test_the_answer_of_a_call_may_be_lost_after_the_call(batch, kind):
    original = kind()
    step = replaced(original, scripted(after_call=True))

    assert run(step, batch) == [asked(OTHER), UNKNOWN]
    assert original.called == [str(OTHER), str(OURS)]


def test_a_batch_without_other_sagas_does_not_reach_the_original():
    def own(deliveries):
        raise AssertionError("not reached")

    delivery = Delivery(saga=OURS, context=NoContext())

    assert replaced(own, scripted())([delivery]) == [UNKNOWN]


def test_the_substitute_keeps_what_else_the_step_declares():
    definition = StepDefinition(name="ours.step", handler=lambda _: [], accepts=NoContext)

    found = substitute(definition, scripted())

    assert msgspec.structs.replace(found, handler=definition.handler) == definition
