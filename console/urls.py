"""Where the console's own pages live, below `admin/`; all are for staff."""

from django.contrib import admin
from django.urls import path

from console import views

app_name = "console"
urlpatterns = [
    path("live/", admin.site.admin_view(views.live), name="live"),
]
