"""`trips.pay` as a step whose calls are awaited in the event loop of its process."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from sagas.definition import handlers
from sagas.definition.handlers import AsyncExternalStep, Batch, Outcome

from .steps import Paid, Pay, Traveller, behaviour, calls, folder_to_fly_to

__all__ = ["PAUSE", "AwaitedPay", "replace_pay", "threads_of_calls", "with_awaited_pay"]

PAY = "trips.pay"

# Seconds between two looks for the answer of the bank.
PAUSE = 0.01

# The threads that the calls ran in.
threads_of_calls: set[str] = set()


class AwaitedPay(Pay, AsyncExternalStep):
    """Asks a bank. The behaviour for `trips.pay/call` returns an awaitable or an outcome."""

    def prepare(self, batch: Batch[Traveller]) -> Sequence[UUID]:
        requests = super().prepare(batch)
        for delivery in batch:
            if folder := folder_to_fly_to(delivery):
                behaviour["trips.pay/call", delivery.saga] = partial(_await_file, folder)  # type: ignore[assignment]  # of a trip
        return requests

    async def call(self, requests: Sequence[UUID]) -> Sequence[Outcome]:  # type: ignore[override]  # as its base
        calls.append(("trips.pay/call", tuple(requests)))
        threads_of_calls.add(threading.current_thread().name)
        if len(requests) == 1:
            return [await _ask(requests[0])]
        return list(await asyncio.gather(*map(_ask, requests)))


async def _ask(trip: UUID) -> Outcome:
    answer = behaviour.get(("trips.pay/call", trip), lambda _: None)(trip)
    if asyncio.iscoroutine(answer):
        answer = await answer
    return answer or Paid()


async def _await_file(folder: Path, trip: UUID) -> None:
    """Answer once a file `answer` is in a folder."""
    (folder / f"asked-{trip}").write_text(threading.current_thread().name)
    while not (folder / "answer").exists():
        await asyncio.sleep(PAUSE)


def replace_pay() -> handlers.StepDefinition:
    """Register the awaited step in place of `trips.pay`; return the definition that was there."""
    before = handlers._definitions[PAY]
    handlers._definitions[PAY] = msgspec.structs.replace(before, handler=AwaitedPay())
    return before


@contextmanager
def with_awaited_pay() -> Iterator[None]:
    """Await the calls of `trips.pay` while the context lasts."""
    threads_of_calls.clear()
    before = replace_pay()
    try:
        yield
    finally:
        handlers._definitions[PAY] = before
