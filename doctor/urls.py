"""The address that `doctor` requests through the proxy."""

from django.urls import path

from doctor.seen import seen

urlpatterns = [path("<str:nonce>/", seen, name="doctor-seen")]
