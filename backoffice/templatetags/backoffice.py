"""The template filter for the pages of the payment provider."""

from django import template

from backoffice.order_page.provider import provider_page

__all__: list[str] = []

register = template.Library()
register.filter("provider_page", provider_page)
