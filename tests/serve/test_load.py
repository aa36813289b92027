"""The load of benchmarks/serve_load.py in short: nothing is lost or left when clients cancel, hang up and see a restart."""

import sys

import pytest

from benchmarks.serve_load import load

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")]


async def test_nothing_is_lost_under_load() -> None:
    outcome = await load(clients=12, seconds=12, pause=0.2)
    assert outcome.problems() == []
    assert outcome.statuses == [0, 0]
    assert outcome.empty
    assert outcome.done
    assert outcome.answers["cancelled"] + outcome.answers["hung up"]
