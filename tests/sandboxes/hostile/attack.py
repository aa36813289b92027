"""A hostile program. They run in sandboxes and nowhere else."""

from dataclasses import dataclass
from textwrap import dedent

__all__ = ["REACH", "Attack", "attack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """The attempt of a hostile program.

    Attributes:
        name: What it is.
        category: One of filesystem, environment, network, process, reflection, protocol, cross-run, dos, wasm.
        code: The program. @FILE@ stands for a file of the host's, @ENV@ for the name of a variable of its environment,
            @PORT@ for a port on 127.0.0.1 where it listens, @WRITE@ for a path that must never be written.
        followup: A program that another run must end with the value "clean".
        pollutes: Whether a value "FORGED" shows that it worked.
    """

    name: str
    category: str
    code: str
    followup: str | None = None
    pollutes: bool = False


def attack(name: str, category: str, code: str, followup: str | None = None) -> Attack:
    """Make one; its code may be indented."""
    code = dedent(code.removeprefix("\n"))
    return Attack(name=name, category=category, code=code, followup=followup and dedent(followup.removeprefix("\n")))


REACH = """\
import sys
frame = sys._getframe()
while "wire" not in frame.f_locals:
    frame = frame.f_back
wire = frame.f_locals["wire"]
def send(text):
    data = memoryview(text.encode("utf-8", "surrogatepass"))
    while data:
        data = data[wire._write(data):]
"""
"""The beginning of a program that gets hold of its guest's stream, and defines `send`."""
