"""A process that places orders through the service function, as the API would: `python -m benchmarks.place`.

It is told what to do by lines on its stdin, and answers each with a line of JSON. `go` places the orders; with `--hold`
none is sent on before `send`, as though all had been placed while the relay was down; `end` tells what it cost.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from uuid import uuid4

import django

from benchmarks.shop import PAYMENT_METHOD, wishes

__all__ = ["main"]


def main() -> None:
    """Place orders, a step at a time."""
    given = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    place, send = (_naive if "plain" in os.environ["DJANGO_SETTINGS_MODULE"] else _ours)(hold=given.hold)
    skus = list(wishes(given.orders, undone=given.undone))
    _answer(ready=True)
    started = time.process_time()
    for line in sys.stdin:
        match line.strip():
            case "go":
                with ThreadPoolExecutor(given.threads) as pool:
                    shares = [list(islice(skus, start, None, given.threads)) for start in range(given.threads)]
                    list(pool.map(_placing(place), shares))
                _answer(placed=len(skus))
            case "send":
                send()
                _answer(sent=True)
            case "end":
                _answer(cpu=time.process_time() - started)
                return


def _ours(*, hold: bool) -> tuple[Callable[[str], object], Callable[[], None]]:
    from orders.services import NewOrder, place_order  # noqa: PLC0415  only once Django is set up
    from sagas import lifecycle  # noqa: PLC0415
    from sagas.nudge import nudge  # noqa: PLC0415

    if hold:
        lifecycle.nudge = lambda service: None  # type: ignore[attr-defined]  # what is placed stays in the outbox

    def place(user: int, sku: str) -> object:
        new = NewOrder(lines=_lines(sku), payment_method=PAYMENT_METHOD)
        return place_order(user_id=user, key=str(uuid4()), new=new, render=lambda order: str(order.id))

    return _for_customer(place), lambda: nudge("orders")


def _naive(*, hold: bool) -> tuple[Callable[[str], object], Callable[[], None]]:
    """Return how the naive shop places an order; its chain is sent on commit, so the workers are held instead."""
    from orders.services import NewOrder  # noqa: PLC0415  only once Django is set up
    from tests.naive.orders import place as place_naively  # noqa: PLC0415

    def place(user: int, sku: str) -> object:
        return place_naively(user, str(uuid4()), NewOrder(lines=_lines(sku), payment_method=PAYMENT_METHOD))

    return _for_customer(place), lambda: None


def _for_customer(place: Callable[[int, str], object]) -> Callable[[str], object]:
    from django.contrib.auth.models import User  # noqa: PLC0415  only once Django is set up

    customer: int = User.objects.get(username="admin").pk
    return lambda sku: place(customer, sku)


def _lines(sku: str) -> Any:
    from orders.catalogue import LineWanted  # noqa: PLC0415  only once Django is set up

    return (LineWanted(sku=sku, quantity=1),)


def _placing(place: Callable[[str], object]) -> Callable[[Sequence[str]], None]:
    def each(skus: Sequence[str]) -> None:
        for sku in skus:
            place(sku)

    return each


def _answer(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.place")
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--undone", type=float, default=0.0, help="the share that finds no stock")
    parser.add_argument("--hold", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
