"""One soak: create products, run the load and the faults, wait for all orders, check them."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tools.chaos.bad_releases import BadReleases
from tools.chaos.checks import (
    END_SECONDS,
    free_violations,
    money_violations,
    return_violations,
    seconds_to_the_end,
    violations,
)
from tools.chaos.client_record import ClientRecord
from tools.chaos.episodes import EpisodeRunner
from tools.chaos.fault_injector import FaultInjector
from tools.chaos.fault_schedule import Episode, bad_releases, deployments, schedule
from tools.chaos.hold_reader import automatic_holds
from tools.chaos.isolated_stack import Journal
from tools.chaos.load_generator import LoadGenerator
from tools.chaos.order_reader import OrderReader, OrderRow
from tools.chaos.payment_reader import PaymentReader
from tools.chaos.provider_faults import DEFAULT, ProviderBehaviour, provider_faults
from tools.chaos.provider_movements import ProviderMovements
from tools.chaos.rolling_deployment import RollingDeployments
from tools.chaos.workload import operations, products
from tools.local.demo.client import Client
from tools.local.demo.money import orders_with_money
from tools.local.errors import ServerFailed
from tools.local.processes import poll
from tools.local.provider_ledger import money_left, read_ledger
from tools.local.stack import ADMIN, Stack

__all__ = ["EPISODE_SECONDS", "Soak", "SoakOptions", "SoakResult"]

# After the last order ends, the services still finish messages. That takes a moment.
QUIET_SECONDS = 20.0
# After the reconciliation, payments are followed up until the money of each order is right.
SETTLED_SECONDS = 90.0
LOOK_SECONDS = 0.5

# The longest time of a bad release.
EPISODE_SECONDS = 20.0
# The releases of a deployment run side by side for this part of it, before and after the API.
SIDE_BY_SIDE = 0.25

# Exit codes of `manage.py reconcile`: no discrepancy is open, or some are.
RECONCILED = (0, 1)


@dataclass(frozen=True, kw_only=True)
class SoakOptions:
    """The number of orders and faults, and the seed. A bad release lasts up to `episode_seconds`.

    `most_open` limits the open orders. `patience` is the time in seconds from the last fault until
    the last order must have ended.
    """

    orders: int
    kills: int
    flushalls: int
    seed: int
    most_open: int
    bad_releases: int = 0
    deployments: int = 0
    episode_seconds: float = EPISODE_SECONDS
    patience: float = END_SECONDS
    provider: ProviderBehaviour = DEFAULT


@dataclass(kw_only=True)
class SoakResult:
    """The result of a soak.

    `movements` counts the acts of other people at the payment sandbox, and `episodes` the bad
    releases and the deployments. `needed_attention` counts the orders that did at some time.
    """

    size: SoakOptions
    orders: int
    open: int
    answers: Counter[str]
    injected: Counter[str]
    episodes: Counter[str] = field(default_factory=Counter)
    needed_attention: int = 0
    movements: Counter[str] = field(default_factory=Counter)
    endings: dict[str, Counter[str]] = field(default_factory=dict)
    returns: Counter[str] = field(default_factory=Counter)
    seconds_to_the_end: float
    violations: list[str]


class Soak:
    """Runs load and faults against a system, and checks the result."""

    def __init__(
        self, stack: Stack, options: SoakOptions, *, progressed: Callable[[int, int, int], None]
    ) -> None:
        """Run against `stack`, which is up and has no orders.

        Calls `progressed` with the number of answered orders, ended orders and injected faults.
        """
        self.stack = stack
        self.options = options
        self.progressed = progressed
        self.operations = operations(orders=options.orders, seed=options.seed)
        self.record = ClientRecord(
            [operation.request for operation in self.operations if operation.verb == "place"]
        )
        self.order_reader = OrderReader(stack.env["DATABASE_URL"])
        self.payment_reader = PaymentReader(stack.env["PAYMENTS_DATABASE_URL"])
        faults = schedule(
            orders=options.orders,
            kills=options.kills,
            flushalls=options.flushalls,
            seed=options.seed,
        )
        self.injector = FaultInjector(
            stack, faults, answered=lambda: self.record.placed, notify=Journal(stack.run_dir)
        )
        deploying = RollingDeployments(stack, notify=Journal(stack.run_dir))
        self.episodes = [
            self._episode_runner(bad_releases, options.bad_releases, BadReleases(stack).run),
            self._episode_runner(deployments, options.deployments, deploying.run),
        ]
        self.movements = (
            ProviderMovements(
                stack.sandbox,
                api_key=stack.env["STRIPE_API_KEY"],
                seed=options.seed,
                notify=Journal(stack.run_dir),
            )
            if stack.sandbox
            else None
        )
        self.started_at = datetime.now(UTC)

    def _episode_runner(
        self,
        draw: Callable[..., list[Episode]],
        count: int,
        run: Callable[[Episode], str],
    ) -> EpisodeRunner:
        part = SIDE_BY_SIDE if draw is deployments else 1.0
        return EpisodeRunner(
            draw(
                orders=self.options.orders,
                count=count,
                seconds=part * self.options.episode_seconds,
                seed=self.options.seed,
            ),
            run,
            answered=lambda: self.record.placed,
            notify=Journal(self.stack.run_dir),
        )

    def run(self) -> SoakResult:
        """Run the soak and return its result."""
        self._create_products()
        load = LoadGenerator(
            self.stack.api, self._token(), self.record, most_open=self.options.most_open
        )
        self._with_progress(lambda: self._under_load(load))
        self._wait_for_the_end()
        reconciled = self._reconcile() if self.movements else []

        return self._result(reconciled)

    def _create_products(self) -> None:
        staff = Client(self.stack.api, username=ADMIN, password=self.stack.admin_password)
        for product in products(self.options.orders):
            staff.add_product(product, sku=product.sku)

    def _token(self) -> str:
        done = self.stack.manage("create_token", ADMIN)
        if done.returncode:
            raise ServerFailed(
                f"`manage.py create_token {ADMIN}` failed, so the customers cannot log in: "
                f"{done.stderr.strip()}"
            )

        return done.stdout.strip()

    def _under_load(self, load: LoadGenerator) -> None:
        acting = self.movements.acting() if self.movements else nullcontext()
        faults = provider_faults(
            self.stack.sandbox, seed=self.options.seed, behaviour=self.options.provider
        )
        with faults, acting:
            self.injector.start()
            for runner in self.episodes:
                runner.start()
            load.run(self.operations)
            self.injector.finish(seconds=END_SECONDS)
            for runner in self.episodes:
                runner.finish()

        if self.movements:
            self.movements.decide_all()
            self.injector.last_at = datetime.now(UTC)

    @property
    def last_fault_at(self) -> datetime:
        """The end of the last fault."""
        return max(self.injector.last_at, *(runner.last_at for runner in self.episodes))

    @property
    def faults(self) -> int:
        """The number of faults until now, with bad releases and deployments."""
        over = sum(runner.done.total() for runner in self.episodes)
        return self.injector.injected.total() + over

    def _with_progress(self, work: Callable[[], None]) -> None:
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), name="progress", daemon=True)
        watch.start()

        try:
            work()
        finally:
            over.set()
            watch.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            self._update_progress()

    def _update_progress(self) -> bool:
        """Report the progress; return whether every order has ended."""
        count = self.order_reader.count()
        if count is None:
            return False

        self.record.ended = count.ended
        self.progressed(self.record.placed, count.ended, self.faults)
        return count.ended == count.total

    def _wait_for_the_end(self) -> None:
        since = (datetime.now(UTC) - self.last_fault_at).total_seconds()
        for _ in poll(self.options.patience - since, pause=LOOK_SECONDS):
            if self._update_progress() and not self.order_reader.open_returns():
                return

    def _reconcile(self) -> list[str]:
        """Compare the provider's statement with the payments, because webhooks were lost, and wait
        for the follow-up. Return a line for each problem.

        Open discrepancies are none: other people have moved money.
        """
        until = datetime.now(UTC)
        done = self.stack.manage(
            *("reconcile", "--since", self.started_at.isoformat(), "--until", until.isoformat())
        )
        if done.returncode not in RECONCILED:
            return [f"`manage.py reconcile` failed: {done.stderr.strip()}"]

        unsettled = 0
        for _ in poll(SETTLED_SECONDS, pause=LOOK_SECONDS):
            unsettled = self.payment_reader.unsettled()
            if not unsettled:
                return []
        return [
            f"{unsettled} payments are not settled {SETTLED_SECONDS:.0f} s after the reconciliation"
        ]

    def _money_violations(self, orders: list[OrderRow]) -> list[str]:
        if not (self.movements and self.stack.sandbox):
            return []
        left = money_left(read_ledger(self.stack.sandbox))
        return money_violations(
            orders,
            left=left,
            taken=self.movements.taken,
            in_books=self.payment_reader.money_left(),
            returned=self._returned(),
        )

    def _returned(self) -> Counter[str]:
        """Return the refunds of completed returns by order, in minor units."""
        returned: Counter[str] = Counter()
        for found in self.order_reader.returns():
            if found.status == "completed":
                returned[found.order] += found.amount
        return returned

    def _result(self, reconciled: list[str]) -> SoakResult:
        orders, returns = self.order_reader.orders(), self.order_reader.returns()
        last_fault_at = self.last_fault_at
        still_open = sum(order.ended_at is None for order in orders)
        return SoakResult(
            size=self.options,
            orders=len(orders),
            open=still_open,
            answers=self.record.answers,
            injected=self.injector.injected,
            episodes=sum((runner.done for runner in self.episodes), Counter()),
            needed_attention=self.order_reader.needed_attention(),
            movements=self.movements.done if self.movements else Counter(),
            endings=self._endings(orders),
            returns=Counter(found.status for found in returns),
            seconds_to_the_end=seconds_to_the_end(orders, last_fault_at),
            violations=[
                *(
                    f"{fault.kind}: not injected, because its process was never restarted"
                    for fault in self.injector.pending
                ),
                *(problem for runner in self.episodes for problem in runner.problems),
                *self._hold_violations(all_ended=still_open == 0),
                *violations(
                    self.record,
                    orders,
                    last_fault_at=last_fault_at,
                    captured_by_hand=self.movements.captured_by_hand if self.movements else (),
                    may_be_given_up=self._is_provider_at_fault,
                ),
                *return_violations(
                    self.record, returns, may_be_given_up=self._is_provider_at_fault
                ),
                *reconciled,
                *self._audit(all_ended=still_open == 0),
                *self._money_violations(orders),
                *free_violations(orders, with_money=orders_with_money(self.stack)),
            ],
        )

    @property
    def _is_provider_at_fault(self) -> bool:
        """Whether the provider fails single calls: it may then fail one order alone, repeatedly."""
        return self.stack.sandbox is not None

    def _hold_violations(self, *, all_ended: bool) -> list[str]:
        """Return a line for each step that is still on hold by itself after QUIET_SECONDS."""
        held: list[str] = []
        for _ in poll(QUIET_SECONDS, pause=LOOK_SECONDS):
            held = automatic_holds(self.stack.env)
            if not held or not all_ended:
                break
        return [f"The step {step} is still on hold by itself" for step in held]

    def _endings(self, orders: list[OrderRow]) -> dict[str, Counter[str]]:
        """Count the outcomes of each kind of order."""
        endings: dict[str, Counter[str]] = {}
        for order in orders:
            customer_order = self.record.orders.get(order.key or "")
            title = customer_order.request.kind.title if customer_order else "unknown customer"
            endings.setdefault(title, Counter())[order.outcome] += 1

        return endings

    def _audit(self, *, all_ended: bool) -> list[str]:
        """Check the invariants; repeat for QUIET_SECONDS, while the last messages are processed."""
        for _ in poll(QUIET_SECONDS, pause=1):
            done = self.stack.manage("audit", "--expect-ended", "--json")
            if done.returncode == 0 or not all_ended:
                break

        return _audit_violations(done)


def _audit_violations(done: subprocess.CompletedProcess[str]) -> list[str]:
    try:
        verdicts = json.loads(done.stdout)["invariants"]
    except ValueError:
        return [f"`manage.py audit` failed: {done.stderr.strip()}"]

    return [
        f"audit {verdict['id']} ({verdict['violations']} violations): "
        f"{shown['subject']}: {shown['detail']}"
        for verdict in verdicts
        for shown in verdict["shown"]
    ]
