"""The services of this project. A new service is one more line here.

The list decides INSTALLED_APPS, the databases and their router, and the entries of beat. It decides
the workers, roles and databases of the local stack. It decides the permissions of staff, the menu,
the tables with personal data, and the expectations of the tests.
"""

from services.declaration import BeatEntry, Page, Service, declare

__all__ = ["SERVICES"]

HOUR = 3600.0

SERVICES = declare(
    [
        Service(
            "orders",
            database="default",  # users, groups and the console's tables are in it as well
            starts_sagas=True,
            pages=(Page("product", "Products", "sell"),),
            beat=(
                BeatEntry(
                    name="purge-idempotency-keys",
                    task="orders.purge_idempotency_keys",
                    seconds=HOUR,
                ),
            ),
        ),
        Service(
            "payments",
            beat=(
                BeatEntry(name="follow-payments", task="payments.follow", seconds=5),
                BeatEntry(
                    name="expire-authorizations", task="payments.expire_authorizations", seconds=60
                ),
                BeatEntry(name="reconcile-payments", task="payments.reconcile", seconds=60),
                BeatEntry(
                    name="purge-webhook-events", task="payments.purge_webhook_events", seconds=HOUR
                ),
                BeatEntry(
                    name="purge-reconciliations",
                    task="payments.purge_reconciliations",
                    seconds=HOUR,
                ),
            ),
        ),
        Service(
            "inventory",
            pages=(
                Page("stockitem", "Stock", "inventory_2"),
                Page("reservation", "Reservations", "pan_tool"),
                Page("stockreturn", "Returned stock", "assignment_return"),
                Page("stockadjustment", "Stock adjustments", "tune"),
            ),
        ),
        Service(
            "returns",
            database="default",  # an order has far fewer returns than steps
            starts_sagas=True,
            workers=1,
            beat=(
                BeatEntry(
                    name="purge-return-keys",
                    task="returns.purge_idempotency_keys",
                    seconds=HOUR,
                ),
            ),
        ),
    ]
)
