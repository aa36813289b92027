"""Control groups, on a folder that looks like the kernel's: what the kernel at hand may not have."""

from pathlib import Path

import pytest
from codemode_sandboxes.jail.cgroup import Cgroups, Leaf, _places


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
