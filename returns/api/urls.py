"""Paths of returns."""

from django.urls import path

from returns.api.views import (
    CancelReturnView,
    GoodwillView,
    OrderReturnsView,
    ReturnsView,
    ReturnTimelineView,
    ReturnView,
)

urlpatterns = [
    path("orders/<uuid:order_id>/returns/", OrderReturnsView.as_view(), name="order-returns"),
    path("orders/<uuid:order_id>/goodwill/", GoodwillView.as_view(), name="order-goodwill"),
    path("returns/", ReturnsView.as_view(), name="return-list"),
    path("returns/<uuid:pk>/", ReturnView.as_view(), name="return-detail"),
    path("returns/<uuid:pk>/timeline/", ReturnTimelineView.as_view(), name="return-timeline"),
    path("returns/<uuid:pk>/cancel/", CancelReturnView.as_view(), name="return-cancel"),
]
