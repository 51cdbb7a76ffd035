"""The paths of the project, and of both kinds of trips."""

from django.urls import include, path

from tests.trips_api import views

urlpatterns = [
    path("api/v1/trips/", views.TripsView.as_view(), name="trip-list"),
    path("api/v1/trips/<uuid:pk>/", views.TripView.as_view(), name="trip-detail"),
    path("api/v1/trips/<uuid:pk>/timeline/", views.TripTimelineView.as_view()),
    path("api/v1/trips/<uuid:pk>/cancel/", views.TripCancelView.as_view()),
    path("api/v1/cruises/", views.CruisesView.as_view(), name="cruise-list"),
    path("api/v1/cruises/<uuid:pk>/", views.CruiseView.as_view(), name="cruise-detail"),
    path("api/v1/cruises/<uuid:pk>/timeline/", views.CruiseTimelineView.as_view()),
    path("api/v1/cruises/<uuid:pk>/cancel/", views.CruiseCancelView.as_view()),
    path("", include("config.urls")),
]
