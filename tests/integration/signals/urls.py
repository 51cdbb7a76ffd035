"""The paths of the project, and the signals of trips as a service would mount them."""

from django.urls import include, path

from api.signals import SignalsView
from tests.trips.models import Trip

urlpatterns = [
    path("api/v1/trips/<uuid:pk>/signals/<str:step>/", SignalsView.as_view(model=Trip)),
    path("", include("config.urls")),
]
