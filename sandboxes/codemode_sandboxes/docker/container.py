"""A guest's container: its limits, and the command that starts the guest runner in it.

Images made for guests hold the runner; other images receive it over standard input.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codemode_sandboxes.docker.daemon import ImageFacts
from codemode_sandboxes.image.contents import GUEST, PYTHON
from codemode_sandboxes.jail.sandbox import NOBODY, TASKS, TMP_BYTES
from codemode_sandboxes.process.spawn import guest_files

__all__ = [
    "GUEST_LABEL",
    "HEADROOM_BYTES",
    "PACKAGES_LABEL",
    "RunnerStart",
    "container_config",
    "guest_version",
    "runner_start",
]

GUEST_LABEL = "codemode.sandbox.guest"
"""The label with the version of the guest runner that an image holds."""

PACKAGES_LABEL = "codemode.sandbox.packages"
"""The label with the names of the packages that an image holds."""

HEADROOM_BYTES = TMP_BYTES + (32 << 20)
"""Memory that a container needs beside the program's own, for `/tmp` and the interpreter."""

_GVISOR_TASKS = 256  # gVisor's own threads count against the limit
_TMP_INODES = 1024
# The interpreter of another's image may not start without these; the runner removes them before a program runs.
_NEEDED = ("PATH", "LD_LIBRARY_PATH")
_ENVIRONMENT = {"HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC"}
_LENGTH_BYTES = 4

# These run before the runner's entry point. `site` adds names for interactive sessions, which other sandboxes lack.
_PREPARE = """
import builtins, sys
for name in ("copyright", "credits", "exit", "help", "license", "quit"):
    builtins.__dict__.pop(name, None)
place = "%(place)s"
main = {"__name__": "__main__", "__file__": place}
"""
_RUN_FILE = """
with open(place) as file:
    exec(compile(file.read(), place, "exec"), main)
"""
_IMPORT_FROM_INPUT = """
import os
if sys.version_info < (3, 11):
    sys.exit("Python %%d.%%d is too old for a sandbox: it needs 3.11 or later" %% sys.version_info[:2])
import importlib.util, json
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data
sources = json.loads(read(int.from_bytes(read(%(length)d), "big")))
class FromInput:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in sources:
            return importlib.util.spec_from_loader(name, FromInput, is_package=name == "codemode_sandboxes.guest")
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(compile(sources[module.__name__], "<sandbox>", "exec"), module.__dict__)
sys.meta_path.insert(0, FromInput)
exec(compile(sources["codemode_sandboxes.guest.__main__"], place, "exec"), main)
"""
_PLACE = f"{GUEST}/guest/__main__.py"
_FROM_INPUT = (_PREPARE + _IMPORT_FROM_INPUT) % {"place": _PLACE, "length": _LENGTH_BYTES}
_FROM_IMAGE = _PREPARE % {"place": _PLACE} + _RUN_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStart:
    """The start of the guest runner in an image: the command, its environment, and the first bytes of its input."""

    command: tuple[str, ...]
    environment: dict[str, str]
    payload: bytes = b""


def runner_start(image: ImageFacts, python: str) -> RunnerStart:
    """Return how the guest runner starts in an image.

    Args:
        image: The image.
        python: The interpreter in it; unused where the image was made for guests.
    """
    options = ("-s", "-B")
    version = image.labels.get(GUEST_LABEL)
    if version != guest_version():
        command = (PYTHON if version else python, *options, "-c", _FROM_INPUT)
        return RunnerStart(command=command, environment=_ENVIRONMENT, payload=_payload())
    if image.labels.get(PACKAGES_LABEL):  # `site` adds the packages' folder to the path, so there is no -S
        return RunnerStart(command=(PYTHON, *options, "-c", _FROM_IMAGE), environment=_ENVIRONMENT)
    return RunnerStart(command=(PYTHON, "-P", *options, "-S", f"{GUEST}/guest"), environment=_ENVIRONMENT)


def guest_version() -> str:
    """Return a hash that identifies the guest runner of this package."""
    return hashlib.sha256(_payload()).hexdigest()[:16]


@functools.cache
def _payload() -> bytes:
    modules: dict[str, str] = {}
    for place, content in guest_files().items():
        name = place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        modules[f"codemode_sandboxes.{name}"] = content.decode()
    data = json.dumps(modules).encode()
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def container_config(
    image: ImageFacts,
    start: RunnerStart,
    *,
    memory_bytes: int,
    cpus: float,
    runtime: str | None,
    gvisor: bool,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the description of a container that the daemon takes.

    Args:
        image: Its image.
        start: What runs in it; it has no other environment variables.
        memory_bytes: The memory of all its processes, tmpfs included; there is no swap.
        cpus: Its processor time, in processors.
        runtime: The daemon's runtime; None for the default one.
        gvisor: Whether that runtime is gVisor.
        labels: The labels by which it is found again.
    """
    # A variable's name without a value removes the variable that the image sets.
    removed = [name for name in image.variables if name not in start.environment and name not in _NEEDED]
    limits = {"core": 0, "fsize": TMP_BYTES, "memlock": 0, "msgqueue": 0, "nofile": 256}
    return {
        "Image": image.id,
        "Entrypoint": list(start.command),
        "Cmd": None,
        "Env": [*(f"{name}={value}" for name, value in start.environment.items()), *removed],
        "Labels": dict(labels),
        "User": f"{NOBODY}:{NOBODY}",
        "WorkingDir": "/tmp",
        "Hostname": "guest",
        "StopSignal": "SIGKILL",  # the first process of a container ignores others, and a stop would wait in vain
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
            "SecurityOpt": ["no-new-privileges"],  # this adds to the daemon's default seccomp profile
            "IpcMode": "none",
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "PidsLimit": _GVISOR_TASKS if gvisor else TASKS,
            "NanoCpus": int(cpus * 1e9),
            "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in limits.items()],
            "Tmpfs": _tmpfs(image),
            "LogConfig": {"Type": "none", "Config": {}},  # a log of the output would fill the daemon's disk
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,  # a removed container has no exit status
            **({"Runtime": runtime} if runtime else {}),
        },
    }


def _tmpfs(image: ImageFacts) -> dict[str, str]:
    # Nothing bounds what is written to a volume, so the image's volumes become read-only.
    volumes = dict.fromkeys(image.volumes, "ro,noexec,nosuid,nodev,size=4096")
    # The user is named too: the mode is lost where the image has no folder /tmp.
    options = f"size={TMP_BYTES},nr_inodes={_TMP_INODES},mode=1777,uid={NOBODY},gid={NOBODY}"
    return volumes | {"/tmp": f"rw,noexec,nosuid,nodev,{options}"}
