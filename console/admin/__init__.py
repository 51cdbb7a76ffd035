"""The console's pages in the admin. Importing this package registers them."""

from django.contrib import admin

from console.admin.failed_tasks import TaskResultAdmin
from console.admin.operations import LogEntryAdmin, RunAdmin

__all__ = ["LogEntryAdmin", "RunAdmin", "TaskResultAdmin"]

admin.site.index_template = "console/start.html"
admin.site.index_title = "Now"
