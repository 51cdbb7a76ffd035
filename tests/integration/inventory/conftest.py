import pytest

from inventory import stock


@pytest.fixture(autouse=True)
def no_item_was_busy(monkeypatch):
    """Forget the items that earlier tests kept locked."""
    monkeypatch.setattr(stock, "_no_wait_until", {})
