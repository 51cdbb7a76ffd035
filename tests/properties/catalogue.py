"""The products and payment methods of the property tests. Each sequence starts with them anew."""

from django.apps import apps

from audit.load import saga_services
from inventory.services import adjust_stock
from orders.models import Product
from sagas import sql
from tests import broker

__all__ = ["METHODS", "open_shop"]

METHODS = (
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_sim_timeout_charged",
    "pm_sim_timeout_lost",
    "pm_sim_500_charged",
    "pm_sim_authorization_lapses",
)
PIECES = {"MUG": 100, "PLATE": 100, "RARE": 3, "VASE": 0}


def open_shop() -> None:
    """Remove all orders from the services and the broker, and fill the stock."""
    broker.empty()
    for service in saga_services():
        tables = [model._meta.db_table for model in apps.get_app_config(service.name).get_models()]
        sql.run(service.alias, f"TRUNCATE {', '.join(tables)}", {})
    for sku, pieces in PIECES.items():
        Product.objects.create(sku=sku, name=sku, unit_amount=1250, currency="eur")
        if pieces:
            adjust_stock(sku=sku, quantity=pieces, reason="received", by="staff")
