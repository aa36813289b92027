"""What holds for all tests."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _collected() -> None:
    """Free what earlier modules have left, such as sandboxes that graphs hold: it is not to go while others count."""
    gc.collect()
