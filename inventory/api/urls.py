"""Paths of stock, below /api/v1/."""

from django.urls import path

import api.requests.converters  # noqa: F401  (registers <sku:…>)
from inventory.api.views import AdjustmentsView, StockItemView, StockView

__all__ = ["urlpatterns"]

urlpatterns = [
    path("stock/", StockView.as_view(), name="stock"),
    path("stock/<sku:sku>/", StockItemView.as_view(), name="stock-item"),
    path("stock/<sku:sku>/adjustments/", AdjustmentsView.as_view(), name="stock-adjustments"),
]
