"""The operators' console: the Django admin, with pages that show a saga across all services."""
