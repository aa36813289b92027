"""Fixtures and checks for all tests."""

import gc
import importlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from codemode_sandboxes import SANDBOXES

_SANDBOX = re.compile(rf"\[(?:{'|'.join(SANDBOXES)})(?: in \w+)?(?=[-\]])")


@pytest.fixture(scope="module", autouse=True)
def _collected() -> None:
    """Free what earlier modules have left, such as sandboxes that graphs hold: it is not to go while others count."""
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def _log_level() -> Iterator[None]:
    """Undo what `codemode-graph serve` does to logging where a test runs it in this process."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the command line records out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let a worker of pytest-xdist begin with the modules that take long, so that none is left for the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave what is there for good out of every later collection of garbage: the imported modules, and the tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one worker run the tests of a module, or those of its tests for one sandbox: they share its guests."""
    scheduler = importlib.import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduler._split_scope = _group
    return scheduler


def _group(nodeid: str) -> str:
    sandbox = _SANDBOX.search(nodeid)
    return nodeid.partition("::")[0] + (sandbox[0] if sandbox else "")
