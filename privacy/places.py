"""The places with data of a customer's orders, in the databases of all services.

Amounts, ids, states and times stay everywhere, because the books need them. The id of the customer
stays as a pseudonym: after the anonymisation no row leads from it to the person.
"""

from dataclasses import dataclass

from services import ALIASES, SERVICES, Service

__all__ = ["ANONYMISED", "KEPT", "Place"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A table whose rows belong to orders or returns. `order` is the column with the id of either.

    `key` is its primary key. Personal data is replaced in `documents`, columns with JSON, and in
    `texts`. `payment_method` is replaced as a whole.
    """

    alias: str
    table: str
    order: str
    key: str = "id"
    documents: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def _messages(service: Service) -> tuple[Place, ...]:
    name, alias = service.name, service.alias
    outbox = Place(
        alias=alias,
        table=f"{name}_outbox",
        order="saga",
        documents=("headers", "context", "data"),
        texts=("last_error",),
    )
    inbox = Place(
        alias=alias,
        table=f"{name}_inbox",
        order="saga",
        documents=("message", "by_hand", "signal"),
        texts=("error",),
    )
    hold = Place(alias=alias, table=f"{name}_hold", order="saga", texts=("why",))
    fault = Place(alias=alias, table=f"{name}_stepfault", order="saga", texts=("error",))
    return outbox, inbox, hold, fault


_RETURNS = ALIASES["returns"]
_HOME_LAST = sorted(SERVICES, key=lambda service: service.starts_sagas)

# In the order in which they are anonymised. Orders come last, so that a repeated run after a crash
# still finds the payment methods of the person.
ANONYMISED = (
    Place(
        alias="payments",
        table="payments_payment",
        order="order_id",
        texts=("payment_method", "follow_error", "refund_reference"),
    ),
    Place(alias="payments", table="payments_partialrefund", order="order_id", texts=("reference",)),
    # Stands for the provider's own table.
    Place(
        alias="payments",
        table="payments_simulatedintent",
        order="order_id",
        key="key",
        texts=("payment_method",),
    ),
    *(place for service in _HOME_LAST for place in _messages(service)),
    Place(alias="default", table="orders_timelineevent", order="saga", documents=("detail",)),
    Place(alias=_RETURNS, table="returns_timelineevent", order="saga", documents=("detail",)),
    Place(alias=_RETURNS, table="returns_return", order="id", texts=("reason", "failure_detail")),
    # Texts of people and of errors. Only the words that identify the person are replaced.
    Place(alias="payments", table="payments_drift", order="order_id", texts=("closed_why",)),
    Place(alias="default", table="console_runitem", order="order_id", texts=("outcome",)),
    Place(
        alias="default",
        table="orders_order",
        order="id",
        documents=("action",),
        texts=("payment_method", "failure_detail"),
    ),
)

# Further tables in an export. They have amounts, ids, states and times, and stay as they are.
KEPT = (
    Place(alias="default", table="orders_orderline", order="order_id"),
    Place(alias="payments", table="payments_dispute", order="order_id"),
    Place(alias="payments", table="payments_webhookevent", order="order_id"),
    Place(alias="payments", table="payments_simulatedcharge", order="order_id"),
    Place(alias="inventory", table="inventory_reservation", order="order_id"),
    Place(alias="inventory", table="inventory_stockreturn", order="order_id"),
    Place(alias=_RETURNS, table="returns_returnedorder", order="order_id", key="order_id"),
    Place(alias=_RETURNS, table="returns_returnline", order="return_id"),
)
