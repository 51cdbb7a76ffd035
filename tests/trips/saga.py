from sagas.definition.plan import Saga, Step

TRIP = Saga(
    "trip",
    Step("trips.book", undo="trips.unbook"),
    Step("trips.pay", undo="trips.refund"),
    Step("trips.confirm", pivot=True),
    Step("trips.travel"),
    abort="trips.drop",
)
