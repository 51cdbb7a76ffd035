"""A process that places orders through the service function, as the API would: `python -m
tools.benchmarks.place`.

It is told what to do by lines on its stdin, and answers each with a line of JSON. `place 100 0.1`
places a hundred orders, of which a tenth finds no stock; `hold 100 0.1` does so as though the relay
were down, and none is sent on before `send`; `cpu` tells the seconds it has used. Its threads keep
their connections, as those of an API do.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias
from unittest.mock import patch
from uuid import uuid4

import django

from tools.benchmarks.shop import PAYMENT_METHOD, wishes

__all__ = ["main"]

# How an order is placed, what keeps orders from being sent on meanwhile, and what sends those.
Placing: TypeAlias = tuple[
    Callable[[str], object], Callable[[], AbstractContextManager[object]], Callable[[], object]
]


def main() -> None:
    """Place orders, as often as told."""
    given = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    place, keep, send = (_naive if "plain" in os.environ["DJANGO_SETTINGS_MODULE"] else _ours)()
    with ThreadPoolExecutor(given.threads) as pool:
        _answer(ready=True)
        for line in sys.stdin:
            match line.split():
                case ["place" | "hold" as word, orders, undone]:
                    skus = list(wishes(int(orders), undone=float(undone)))
                    shares = [skus[start :: given.threads] for start in range(given.threads)]
                    with keep() if word == "hold" else nullcontext():
                        list(pool.map(_placing(place), shares))
                    _answer(placed=len(skus))
                case ["send"]:
                    send()
                    _answer(sent=True)
                case ["cpu"]:
                    _answer(cpu=time.process_time())


def _ours() -> Placing:
    from orders.services import NewOrder, place_order  # noqa: PLC0415  only once Django is set up
    from sagas import lifecycle  # noqa: PLC0415
    from sagas.delivery import wakeup  # noqa: PLC0415

    def place(user: int, sku: str) -> object:
        new = NewOrder(lines=_lines(sku), payment_method=PAYMENT_METHOD)
        return place_order(
            user_id=user, key=str(uuid4()), new=new, render=lambda order: str(order.id)
        )

    def keep() -> AbstractContextManager[object]:
        return patch.object(
            lifecycle, "request_flush", lambda service: None
        )  # what is placed stays in the outbox

    return _for_customer(place), keep, partial(wakeup.request_flush, "orders")


def _naive() -> Placing:
    """Return how the naive shop places an order; its chain is sent on commit, so the workers are
    held instead.
    """
    from orders.services import NewOrder  # noqa: PLC0415  only once Django is set up
    from tests.naive.orders import place as place_naively  # noqa: PLC0415

    def place(user: int, sku: str) -> object:
        return place_naively(
            user, str(uuid4()), NewOrder(lines=_lines(sku), payment_method=PAYMENT_METHOD)
        )

    return _for_customer(place), nullcontext, lambda: None


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
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.place")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
