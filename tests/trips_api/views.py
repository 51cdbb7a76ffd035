"""The code with which a service gives its sagas the API that orders have."""

import msgspec
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from api.requests.parsing import parse
from api.resources.creation import create_once
from api.resources.records import fingerprint_of
from api.resources.relatives import WithRelatives
from api.resources.resource import SagaResource
from api.resources.timeline import SagaTimelineView
from api.resources.views import SagaCancelView, SagaListView, SagaView
from sagas import start
from tests.trips.models import Cruise, Trip
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began
from tests.trips_api.models import TripKey


class NewTrip(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class TripSerializer(WithRelatives):
    id = serializers.UUIDField()
    events = serializers.IntegerField(source="followed")
    ended_at = serializers.DateTimeField()


TRIPS = SagaResource(model=Trip, serializer=TripSerializer, detail="trip-detail")
CRUISES = SagaResource(model=Cruise, serializer=TripSerializer, detail="cruise-detail")


class TripsView(SagaListView):
    resource = TRIPS

    def post(self, request: Request) -> HttpResponse:
        new = parse(request, NewTrip)
        return create_once(
            request,
            TRIPS,
            TripKey,
            fingerprint=fingerprint_of(new, of="trip"),
            make=lambda: start(TRIP, Trip(user_id=request.user.pk), Began(name=new.name)),
        )


class CruisesView(SagaListView):
    resource = CRUISES

    def post(self, request: Request) -> HttpResponse:
        new = parse(request, NewTrip)
        return create_once(
            request,
            CRUISES,
            TripKey,
            fingerprint=fingerprint_of(new, of="cruise"),
            make=lambda: start(CRUISE, Cruise(user_id=request.user.pk), Began(name=new.name)),
        )


class TripView(SagaView):
    resource = TRIPS


class CruiseView(SagaView):
    resource = CRUISES


class TripTimelineView(SagaTimelineView):
    resource = TRIPS


class CruiseTimelineView(SagaTimelineView):
    resource = CRUISES


class TripCancelView(SagaCancelView):
    resource = TRIPS


class CruiseCancelView(SagaCancelView):
    resource = CRUISES
