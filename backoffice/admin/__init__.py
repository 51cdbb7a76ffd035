"""The shop's pages in the admin. Importing this package registers them."""

from backoffice.admin.discrepancies import DriftAdmin
from backoffice.admin.findings import FindingAdmin
from backoffice.admin.orders import OrderAdmin
from backoffice.admin.system import GroupAdmin, UserAdmin

__all__ = ["DriftAdmin", "FindingAdmin", "GroupAdmin", "OrderAdmin", "UserAdmin"]
