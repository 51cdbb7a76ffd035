"""The tables of the packing service."""

from django.db import models

from sagas.models import ServiceTables


class Messaging(ServiceTables): ...


class Parcel(models.Model):
    order = models.UUIDField(unique=True)
