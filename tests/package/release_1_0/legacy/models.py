"""The models of the host after its upgrade. Release 1.0 had no `StepFault` and no `CallLimit`."""

from django.db import models

import sagas.models


class Outbox(sagas.models.Outbox): ...


class Inbox(sagas.models.Inbox): ...


class Hold(sagas.models.Hold): ...


class StepFault(sagas.models.StepFault): ...


class CallLimit(sagas.models.CallLimit): ...


class Watermark(sagas.models.Watermark): ...


class TimelineEvent(sagas.models.TimelineEvent): ...


class Trip(sagas.models.TrackedSaga):
    status = models.CharField(max_length=20, default="open")
