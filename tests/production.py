"""The environment of a service in production, which every check accepts."""

__all__ = ["PRODUCTION", "SECRET"]

SECRET = "Sg7-xK2_" * 8
LIMITS = ("READS", "WRITES", "ORDERS", "LOGINS", "STRANGERS")

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "DEBUG": "off",
    "ALLOWED_HOSTS": "api.example.com",
    "SECRET_KEY": SECRET,
    "PAYMENT_GATEWAY": "stripe",
    "STRIPE_API_KEY": "sk_live_never_used",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "STRIPE_WEBHOOK_SECRET": "whsec_never_used",
    "PAYMENT_RETURN_URL": "https://shop.example.com/paid/",
    "METRICS_TOKEN": SECRET,
    # The local set-up turns the limits off.
    **{f"RATE_LIMIT_{limit}": "600" for limit in LIMITS},
}
