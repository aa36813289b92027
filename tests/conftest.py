"""What holds for all tests."""

import gc

import pytest
from codemode_sandboxes import SANDBOXES


@pytest.fixture(scope="module", autouse=True)
def _collected() -> None:
    """Free what earlier modules have left, such as sandboxes that graphs hold: it is not to go while others count."""
    gc.collect()


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let one worker run the tests of a module that share a sandbox, and begin with the modules that take long."""
    if not config.getoption("loadgroup", False):  # what --dist loadgroup is for a worker
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """Return the module of a test, with the sandbox that its fixtures are made for where it has one."""
    params = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    places = [place for place in params if isinstance(place, str) and place.partition(" ")[0] in SANDBOXES]
    return " ".join([item.nodeid.partition("::")[0], *places])
