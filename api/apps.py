"""The app of the API's shared parts."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

__all__ = ["ApiConfig"]


class ApiConfig(AppConfig):
    """The shared parts of the REST APIs."""

    name = "api"

    def ready(self) -> None:
        """Register the schema's extensions, the apps' metrics, the auditors' group and tokens."""
        from api import openapi  # noqa: F401, PLC0415  (registering is its effect)
        from api.auth.tokens import end_tokens  # noqa: PLC0415  (needs the app registry)
        from staff.access import also_end  # noqa: PLC0415  (as above)
        from staff.policy import register_events  # noqa: PLC0415  (as above)
        from staff.roles import grant_auditors  # noqa: PLC0415  (as above)

        autodiscover_modules("metrics")
        post_migrate.connect(grant_auditors)  # after Django's receiver, which adds the permissions
        also_end(end_tokens)
        register_events(
            {
                "create_token": "Create a token",  # nosec B105  (no password)
                "revoke_tokens": "Revoke the tokens of a user",
                "make_auditor": "Make an auditor",
            }
        )
