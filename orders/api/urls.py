"""Paths of orders and products."""

from django.urls import path

import api.requests.converters  # noqa: F401  (registers <sku:…>)
from orders.api.product_views import ProductsView, ProductView
from orders.api.views import CancelView, OrdersView, OrderView, TimelineView

urlpatterns = [
    path("orders/", OrdersView.as_view(), name="order-list"),
    path("orders/<uuid:pk>/", OrderView.as_view(), name="order-detail"),
    path("orders/<uuid:pk>/timeline/", TimelineView.as_view(), name="order-timeline"),
    path("orders/<uuid:pk>/cancel/", CancelView.as_view(), name="order-cancel"),
    path("products/", ProductsView.as_view(), name="product-list"),
    path("products/<sku:sku>/", ProductView.as_view(), name="product-detail"),
]
