"""The naive service's paths, and the view that only inserts."""

from django.urls import path

from tests.naive.urls import handler400, handler403, handler404, handler500
from tests.naive.urls import urlpatterns as paths
from tools.benchmarks.baseline.views import BareOrdersView

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [path("api/v1/bare/", BareOrdersView.as_view()), *paths]
