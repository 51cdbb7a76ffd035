"""The fallback for all other paths below /api/."""

from django.urls import path

from api.problems.handlers import unknown_path

urlpatterns = [path("<path:rest>", unknown_path), path("", unknown_path)]
