"""Control groups, on a folder that looks like the kernel's: what the kernel at hand may not have."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import codemode_sandboxes
import pytest
from codemode_sandboxes.jail.cgroup import Cgroups, Leaf, _places

ROOT = Path(codemode_sandboxes.__file__).parents[1]


@pytest.mark.parametrize(
    ("lines", "folders", "given", "place"),
    [
        (["0::/user/app"], ["user/app"], {"user/app": "cpu memory pids"}, (2, "user/app", "user/app")),
        (["0::/user/app"], ["user/app"], {"user/app": "", "user": "memory pids"}, (2, "user", "user")),
        (["0::/user/app"], ["user/app"], {"user/app": "memory", "user": "", ".": "pids cpu"}, None),
        (["0::/hidden"], [], {".": "memory pids"}, (2, ".", ".")),
        (
            ["4:memory:/a/b", "3:pids:/", "2:cpu,cpuacct:/a", "0::/"],
            ["memory/a/b", "pids"],
            {},
            (1, "memory/a/b", "pids"),
        ),
        (["4:memory:/hidden", "3:pids:/hidden"], ["memory", "pids"], {}, (1, "memory", "pids")),
        (["2:cpu:/"], [], {}, None),
    ],
)
def test_the_nearest_place_for_groups_is_found(
    tmp_path: Path, lines: list[str], folders: list[str], given: dict[str, str], place: tuple[int, str, str] | None
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    for folder, controllers in given.items():
        (tmp_path / folder / "cgroup.subtree_control").write_text(controllers)
    found = next(_places(tmp_path, lines), None)
    assert found == (None if place is None else (place[0], tmp_path / place[1], tmp_path / place[2]))


def test_where_there_is_no_place_there_are_no_groups(tmp_path: Path) -> None:
    assert Cgroups.find(tmp_path, tmp_path / "missing") is None
    (tmp_path / "cgroup").write_text("0::/\n")
    assert Cgroups.find(tmp_path, tmp_path / "cgroup") is None


def test_version_2_bounds_memory_without_swap_and_tells_when_it_is_used_up(tmp_path: Path) -> None:
    leaf = Leaf(2, (tmp_path / "leaf",), set())
    leaf.make(tasks=5)
    leaf.limit_memory(1 << 20)
    written = {path.name: path.read_text() for path in (tmp_path / "leaf").iterdir()}
    assert written == {"pids.max": "5", "memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1"}
    assert not leaf.out_of_memory()
    for count, told in ((0, False), (2, True)):
        (tmp_path / "leaf/memory.events").write_text(f"low 0\nmax 9\noom 1\noom_kill {count}\n")
        assert leaf.out_of_memory() is told


def test_sandboxes_of_one_process_share_no_name(tmp_path: Path) -> None:
    sandboxes = [Cgroups(2, tmp_path, tmp_path) for _ in range(4)]
    leaves = [sandbox.leaf(tasks=1) for sandbox in sandboxes for _ in range(4)]
    assert len({path for leaf in leaves for path in leaf.joins}) == 16


ANOTHER = """
import pathlib, sys
from codemode_sandboxes.jail.cgroup import Cgroups
place = pathlib.Path(sys.argv[1])
print(*Cgroups(2, place, place).leaf(tasks=1).joins, flush=True)
sys.stdin.read()
"""


def another_host(place: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process with a group in that place."""
    command = [sys.executable, "-c", ANOTHER, str(place)]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    group = Path(process.stdout.readline().strip()).parent
    return process, group


def test_processes_share_no_name_and_what_a_dead_one_left_is_removed(tmp_path: Path) -> None:
    first, of_first = another_host(tmp_path)
    second, of_second = another_host(tmp_path)
    try:
        assert of_first != of_second
        for group in (of_first, of_second):  # the kernel removes a group with its files
            (group / "pids.max").unlink()
        Cgroups(2, tmp_path, tmp_path)
        assert of_first.exists()
        first.send_signal(signal.SIGKILL)
        first.wait()
        Cgroups(2, tmp_path, tmp_path)
        assert (of_first.exists(), of_second.exists()) == (False, True)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_a_dead_host_is_told_from_a_process_that_has_its_number_now(tmp_path: Path) -> None:
    cgroups = Cgroups(2, tmp_path, tmp_path)
    own = cgroups.leaf(tasks=1).joins[0].parent
    (own / "pids.max").unlink()
    namespace, pid, start_time, token = own.name.removeprefix("codemode-").split("-")
    former = own.with_name(f"codemode-{namespace}-{pid}-{int(start_time) - 1}-{token}")
    elsewhere = own.with_name(f"codemode-{int(namespace) + 1}-{pid}-{int(start_time) - 1}-{token}")
    for folder in (former, elsewhere):
        folder.mkdir()
    Cgroups(2, tmp_path, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([own, elsewhere])


def test_a_group_that_another_has_made_is_left_alone(tmp_path: Path) -> None:
    others = tmp_path / "leaf"
    others.mkdir()
    guest = subprocess.Popen(["sleep", "60"])
    try:
        (others / "cgroup.procs").write_text(f"{guest.pid}\n")
        leaf = Leaf(2, (others,), set())
        with pytest.raises(FileExistsError):
            leaf.make(tasks=1)
        leaf.discard()
        assert others.exists()
        with pytest.raises(subprocess.TimeoutExpired):
            guest.wait(0.5)
    finally:
        guest.kill()
        guest.wait()
