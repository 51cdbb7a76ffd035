"""Returns as a resource of the API."""

from django.db.models import Q

from api.resources.resource import SagaResource
from returns.api.serializers import ReturnSerializer
from returns.models import Return
from returns.selectors import visible_returns
from returns.status import Status

__all__ = ["RETURNS"]

DECIDED = (Status.COMPLETED, Status.REFUSED, Status.CANCELLED)

RETURNS = SagaResource(
    model=Return,
    serializer=ReturnSerializer,
    detail="return-detail",
    visible=visible_returns,
    decided=Q(status__in=[status.value for status in DECIDED]),
)
