"""What Docker daemons tell: of themselves, of images, of containers, and what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

from codemode_sandboxes.process.pool import StartFailed

__all__ = ["DaemonFacts", "DaemonProblem", "Found", "ImageFacts", "State"]


class DaemonProblem(StartFailed):
    """A daemon does not do what it is asked.

    Args:
        reason: What is wrong, in one line.
        remedy: The command or step that mends it, or an empty string.
        missing: Whether it is that something of this name is not there.
    """

    def __init__(self, reason: str, remedy: str = "", *, missing: bool = False) -> None:
        self.reason, self.remedy, self.missing = reason, remedy, missing
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """What a daemon says of itself.

    Attributes:
        limits: Which of "memory" and "processes" it can bound.
        runtimes: Names of its runtimes.
        runtime: The one that it uses unless told.
        cgroup: The control groups' version.
        security: Names of what it puts around containers, such as "seccomp" and "apparmor".
    """

    limits: frozenset[str]
    runtimes: tuple[str, ...]
    runtime: str
    cgroup: str
    security: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image on a daemon: its id, its labels, the names of the variables that it sets, the volumes that it wants."""

    id: str
    labels: Mapping[str, str]
    variables: tuple[str, ...]
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A container: whether it runs, else its exit status as a shell tells it, and whether memory was its end."""

    running: bool
    status: int
    out_of_memory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A container that is there; `age` in seconds, by the daemon's clock."""

    id: str
    labels: Mapping[str, str]
    running: bool
    age: float
