"""The processes of Docker containers that belong to this process."""

from pathlib import Path
from typing import Any

from codemode_sandboxes.docker.host import OWNER_LABEL, current_owner

from benchmarks.boxes.processes import descendants

__all__ = ["container_processes", "processes_of"]


def container_processes() -> list[int]:
    """Those of the guests of the sandbox `docker` that this process has started."""
    import docker  # type: ignore[import-untyped]

    client = docker.from_env()
    try:
        return processes_of(client, client.containers.list(filters={"label": f"{OWNER_LABEL}={current_owner()}"}))
    finally:
        client.close()


def processes_of(client: Any, containers: list[Any]) -> list[int]:
    """The processes in containers, and containerd's one that stands beside each.

    Args:
        client: Of the package docker.
        containers: Its containers.
    """
    found: list[int] = []
    for container in containers:
        first = client.api.inspect_container(container.id)["State"]["Pid"]
        if first:
            found += [_parent(first), first, *descendants(first)]
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
