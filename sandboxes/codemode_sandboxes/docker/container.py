"""What a guest's container is, and all that it may not do."""

from collections.abc import Mapping
from typing import Any

from codemode_sandboxes.docker.facts import ImageFacts
from codemode_sandboxes.jail.sandbox import NOBODY, TASKS, TMP_BYTES

__all__ = ["HEADROOM_BYTES", "container_config"]

HEADROOM_BYTES = TMP_BYTES + (32 << 20)
"""Memory beside the program's own: its `/tmp`, and the interpreter itself."""

_GVISORS_TASKS = 256  # its own threads count too
_INODES = 1024
_NEEDED = ("PATH", "LD_LIBRARY_PATH")  # the interpreter may not start without; the runner forgets them


def container_config(
    image: ImageFacts,
    command: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    memory_bytes: int,
    cpus: float,
    runtime: str | None,
    gvisor: bool,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Describe a container to the daemon.

    Args:
        image: What its files are.
        command: What runs in it.
        environment: All its variables.
        memory_bytes: The memory of all its processes, tmpfs included; there is no swap.
        cpus: Processors' worth of time.
        runtime: The daemon's runtime; None for its own choice.
        gvisor: Whether that is gVisor.
        labels: By which it is found again.
    """
    forgotten = [name for name in image.variables if name not in environment and name not in _NEEDED]
    # A volume could be written without end. The folder is its user's: a mode is not kept where the image has none.
    tmpfs = dict.fromkeys(image.volumes, "ro,noexec,nosuid,nodev,size=4096") | {
        "/tmp": f"rw,noexec,nosuid,nodev,size={TMP_BYTES},nr_inodes={_INODES},mode=1777,uid={NOBODY},gid={NOBODY}"
    }
    limits = {"core": 0, "fsize": TMP_BYTES, "memlock": 0, "msgqueue": 0, "nofile": 256}
    return {
        "Image": image.id,
        "Entrypoint": list(command),
        "Cmd": None,
        "Env": [*(f"{name}={value}" for name, value in environment.items()), *forgotten],
        "Labels": dict(labels),
        "User": f"{NOBODY}:{NOBODY}",
        "WorkingDir": "/tmp",
        "Hostname": "guest",
        "StopSignal": "SIGKILL",  # a guest does not hear others, and the daemon's own end would wait for it
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkDisabled": True,
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],  # the daemon's own filter of system calls stays on
            "IpcMode": "none",
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "PidsLimit": _GVISORS_TASKS if gvisor else TASKS,
            "NanoCpus": int(cpus * 1e9),
            "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in limits.items()],
            "Tmpfs": tmpfs,
            "LogConfig": {"Type": "none", "Config": {}},  # else what is printed fills the daemon's disk
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,  # or nobody could tell how it ended
            **({"Runtime": runtime} if runtime else {}),
        },
    }
