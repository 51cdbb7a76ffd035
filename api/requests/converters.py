"""Path converters: a malformed SKU is not found, without a query."""

from django.urls import register_converter

__all__ = ["SkuConverter"]


class SkuConverter:
    """A SKU in a path: `<sku:sku>`."""

    regex = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

    def to_python(self, value: str) -> str:
        """Return the SKU unchanged."""
        return value

    def to_url(self, value: str) -> str:
        """Return the SKU unchanged."""
        return value


register_converter(SkuConverter, "sku")
