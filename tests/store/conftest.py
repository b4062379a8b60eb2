"""What is rare in life, often enough to be tested."""

import pytest

from indexer.mirror import whole


@pytest.fixture(autouse=True)
def whole_books_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole book is kept every few orders, so that every test's chain has some."""
    monkeypatch.setattr(whole, "EVERY_ORDERS", 8)
