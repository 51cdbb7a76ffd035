from sagas.definition.plan import Saga, Step, Wait
from sagas.definition.timers import Timer

from .steps import Began

TRIP = Saga(
    "trip",
    Step("trips.book", undo="trips.unbook"),
    Step("trips.pay", undo="trips.refund"),
    Step("trips.confirm", pivot=True),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)

# A second kind of saga in the same home, with a tracked model of its own.
CRUISE = Saga(
    "cruise",
    Step("trips.book", undo="trips.unbook"),
    Step("trips.confirm", pivot=True),
    abort="trips.drop",
    started_by=Began,
)

# A trip that a person reviews before it is confirmed, and whose traveller reports the arrival.
REVIEWED_TRIP = Saga(
    "reviewed_trip",
    Step("trips.book", undo="trips.unbook"),
    Wait("trips.review"),
    Step("trips.confirm", pivot=True),
    Wait("trips.arrive"),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)

# A trip that rests until a time of its own, and whose traveller is reminded a week later.
TIMED_TRIP = Saga(
    "timed_trip",
    Step("trips.book", undo="trips.unbook"),
    Timer("trips.rest"),
    Step("trips.confirm", pivot=True),
    Timer("trips.remind"),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)

# A trip with a rest that real workers can sit out.
NAP_TRIP = Saga(
    "nap_trip",
    Step("trips.book", undo="trips.unbook"),
    Timer("trips.nap"),
    Step("trips.confirm", pivot=True),
    Step("trips.travel"),
    abort="trips.drop",
    started_by=Began,
)
