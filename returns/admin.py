"""The admin of returns: orders with returns, and messages. The console shows the returns."""

from django.contrib import admin

from returns.models import Inbox, Outbox
from sagas.contrib.unfold import InboxAdmin, OutboxAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)
