"""The console's pages in the admin. Importing this package registers them."""

from django.contrib import admin

from console.admin.discrepancies import DriftAdmin
from console.admin.findings import FindingAdmin
from console.admin.operations import LogEntryAdmin, RunAdmin
from console.admin.orders import OrderAdmin
from console.admin.system import GroupAdmin, TaskResultAdmin, UserAdmin

__all__ = [
    "DriftAdmin",
    "FindingAdmin",
    "GroupAdmin",
    "LogEntryAdmin",
    "OrderAdmin",
    "RunAdmin",
    "TaskResultAdmin",
    "UserAdmin",
]

admin.site.index_template = "console/start.html"
admin.site.index_title = "Now"
