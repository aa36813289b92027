"""`codemode-graph build-image`: the image that programs have in the sandbox docker."""

import time

from codemode_sandboxes.docker import BuildFailed, build_docker_image
from rich.console import Console

from codemode_graph.cli.running import refuse
from codemode_graph.trace.console import Underway, say

__all__ = ["show_build"]


class _Steps:
    """Writes a line for each step once it is done, with the time that it took."""

    def __init__(self, console: Console) -> None:
        self._console, self._underway = console, Underway(console)
        self._step, self._since = "", 0.0

    def begin(self, step: str) -> None:
        self.done()
        self._step, self._since = step, time.monotonic()
        self._underway.begin("step", step)

    def done(self) -> None:
        if self._step:
            self._underway.end("step")
            seconds = time.monotonic() - self._since
            say(self._console, f"{self._step} {seconds:.1f} s", prefix="  ✓ ", style="green")
        self._step = ""

    def stop(self) -> None:
        self._underway.stop()


def show_build(*, tag: str | None, packages: list[str], python: str | None, hosts: list[str]) -> None:
    """Make the image, tell how it goes on stderr, and print its name on stdout."""
    console = Console(stderr=True)
    steps = _Steps(console)
    try:
        name = build_docker_image(tag, packages=packages, python=python, hosts=hosts or None, report=steps.begin)
        steps.done()
    except BuildFailed as error:
        steps.stop()
        refuse(str(error))
    finally:
        steps.stop()
    print(name)
    use = "sandbox='docker'" if tag is None and not packages else f"DockerSandbox({_options(tag, packages)})"
    say(console, f"programs use it with {use}")


def _options(tag: str | None, packages: list[str]) -> str:
    return f"image={tag!r}" if tag is not None else f"packages={packages!r}"
