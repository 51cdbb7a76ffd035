"""The REST API of both kinds of trips: the second app that serves its sagas."""
