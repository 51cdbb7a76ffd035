from sagas import Event, Saga, Step


class Began(Event, frozen=True):
    type = "trip.began"
    name: str


TRIP = Saga(
    "trip",
    Step("legacy.book", undo="legacy.unbook"),
    Step("legacy.confirm", pivot=True),
    abort="legacy.drop",
    started_by=Began,
)
