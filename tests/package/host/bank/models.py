from django.db import models

from sagas.models import ServiceTables


class Messaging(ServiceTables): ...


class Booking(models.Model):
    saga = models.UUIDField(primary_key=True)
    amount = models.IntegerField()
