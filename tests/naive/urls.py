"""The project's paths, two of which use the naive views."""

from django.urls import path

from config.urls import handler400, handler403, handler404, handler500
from config.urls import urlpatterns as paths
from tests.naive.views import NaiveCancelView, NaiveOrdersView

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [
    path("api/v1/orders/", NaiveOrdersView.as_view()),
    path("api/v1/orders/<uuid:pk>/cancel/", NaiveCancelView.as_view()),
    *paths,
]
