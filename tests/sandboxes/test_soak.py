"""Many runs at one time, good and bad: nothing grows. `python -m benchmarks.soak` has ten times as many."""

import os
import sys

import pytest

from benchmarks.soak import HEAVY, soak
from tests.sandboxes.processes import descendants, every_sandbox, make

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

AT_ONCE = 4


@pytest.mark.parametrize("name", every_sandbox())
async def test_nothing_grows_over_many_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.soak.descendants", descendants)
    others = len(descendants(os.getpid()))
    # What a cluster leaves here does not depend on the guests there.
    sandbox = make(name, **({"inner": "monty"} if name == "ray" else {}))
    try:
        found = await soak(sandbox, runs=20 if name in HEAVY else 100, at_once=AT_ONCE)
    finally:
        await sandbox.aclose()
    assert not found.wrong
    # A pool that keeps its guests, as Monty's does, may have one for each run at one time, with three descriptors.
    assert found.processes_after - others <= max(found.processes_before - others, AT_ONCE)
    more = max(found.processes_after - found.processes_before, 0)
    assert found.descriptors_after <= found.descriptors_before + 3 * more
    assert found.memory_after - found.memory_before < 16 << 20
