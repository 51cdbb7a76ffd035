"""Place orders through the service function, as the API does.

`python -m tools.benchmarks.place_orders` reads commands from stdin and answers each with a line of
JSON. `place 100 0.1` places 100 orders; a tenth of them find no stock. `hold 100 0.1` does the
same, but the orders stay in the outbox until `send`. `cpu` returns the used CPU seconds. The
threads keep their database connections, as the threads of the API do.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import django

from tools.benchmarks.order_data import PAYMENT_METHOD, skus_to_order

__all__ = ["main"]


@dataclass(frozen=True, kw_only=True)
class Placing:
    """How a system places an order, holds its messages back, and sends the held messages."""

    place: Callable[[str], object]
    hold_back: Callable[[], AbstractContextManager[object]]
    send_held: Callable[[], object]


def main() -> None:
    """Run the commands from stdin."""
    options = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    naive = "baseline" in os.environ["DJANGO_SETTINGS_MODULE"]
    placing = _naive() if naive else _ours()

    with ThreadPoolExecutor(options.threads) as pool:
        _answer(ready=True)
        for line in sys.stdin:
            match line.split():
                case ["place" | "hold" as command, orders, undone]:
                    skus = list(skus_to_order(int(orders), undone=float(undone)))
                    shares = [skus[start :: options.threads] for start in range(options.threads)]
                    with placing.hold_back() if command == "hold" else nullcontext():
                        list(pool.map(_place_all(placing.place), shares))

                    _answer(placed=len(skus))
                case ["send"]:
                    placing.send_held()
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

    def hold_back() -> AbstractContextManager[object]:
        # Without a flush, the messages stay in the outbox.
        return patch.object(lifecycle, "request_flush", lambda service: None)

    return Placing(
        place=_for_customer(place),
        hold_back=hold_back,
        send_held=partial(wakeup.request_flush, "orders"),
    )


def _naive() -> Placing:
    """Return how the naive service places an order.

    It sends the chain on commit and cannot hold it back. The benchmark freezes the workers instead.
    """
    from orders.services import NewOrder  # noqa: PLC0415  only once Django is set up
    from tests.naive.orders import place as place_naively  # noqa: PLC0415

    def place(user: int, sku: str) -> object:
        return place_naively(
            user, str(uuid4()), NewOrder(lines=_lines(sku), payment_method=PAYMENT_METHOD)
        )

    return Placing(place=_for_customer(place), hold_back=nullcontext, send_held=lambda: None)


def _for_customer(place: Callable[[int, str], object]) -> Callable[[str], object]:
    from django.contrib.auth.models import User  # noqa: PLC0415  only once Django is set up

    customer: int = User.objects.get(username="admin").pk
    return lambda sku: place(customer, sku)


def _lines(sku: str) -> Any:
    from orders.catalogue import LineWanted  # noqa: PLC0415  only once Django is set up

    return (LineWanted(sku=sku, quantity=1),)


def _place_all(place: Callable[[str], object]) -> Callable[[Sequence[str]], None]:
    def each(skus: Sequence[str]) -> None:
        for sku in skus:
            place(sku)

    return each


def _answer(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.place_orders")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
