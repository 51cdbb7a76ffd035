from django.db import models

from sagas.models import ServiceTables, TrackedSaga


class Messaging(ServiceTables, home=True): ...


class Order(TrackedSaga):
    amount = models.IntegerField()
    status = models.CharField(max_length=20, default="placed")
