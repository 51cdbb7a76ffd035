"""The operators' console: the Django admin, with pages that show an order across all services."""
