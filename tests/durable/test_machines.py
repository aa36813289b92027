"""Threads that two processes share over one PostgreSQL, of which one is killed: nothing is lost, nothing happens twice."""

from pathlib import Path

import pytest

from benchmarks.machines import run_processes
from tests.durable.postgres import Server

pytestmark = pytest.mark.slow


def test_two_processes_share_threads_and_either_answers(postgres: Server, tmp_path: Path) -> None:
    found = run_processes(postgres.create(), tmp_path, threads=8, kill_after=None)
    assert (found.finished, found.lost, found.doubled) == (8, 0, 0)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_one_of_two_processes_is_killed_and_the_other_brings_all_to_their_end(
    postgres: Server, tmp_path: Path, share: float
) -> None:
    found = run_processes(postgres.create(), tmp_path, threads=8, kill_after=share, seed=int(share * 10))
    assert found.killed
    assert (found.finished, found.lost, found.doubled) == (8, 0, 0)
