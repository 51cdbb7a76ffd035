"""What the console shows in the admin besides its own pages, in one look. Importing it registers
all of it.
"""

from django.contrib import admin

from console.admin.operations import LogEntryAdmin, RunAdmin
from console.admin.orders import OrderAdmin, PaymentAdmin
from console.admin.system import GroupAdmin, TaskResultAdmin, UserAdmin

__all__ = [
    "GroupAdmin",
    "LogEntryAdmin",
    "OrderAdmin",
    "PaymentAdmin",
    "RunAdmin",
    "TaskResultAdmin",
    "UserAdmin",
]

admin.site.index_template = "console/start.html"
admin.site.index_title = "Now"
