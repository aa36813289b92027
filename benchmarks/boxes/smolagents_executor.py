"""smolagents' executor: it interprets a program in the host's own process, which is no security boundary."""

import time
from typing import Any

from smolagents.local_python_executor import LocalPythonExecutor  # type: ignore[import-not-found]

from benchmarks.boxes.box import BATCHES, CALLS, GATHERED, Box, Kind, Tool

__all__ = ["open_box"]

# It has no `await`: calls come one after another.
_PROGRAMS: dict[Kind, str] = {
    "one": "final_answer(1)",
    "loop": f"for number in range({CALLS}):\n    echo(number)\nfinal_answer(1)",
    "gather": f"for _ in range({BATCHES}):\n    [echo(number) for number in range({GATHERED})]\nfinal_answer(1)",
}


class _Executor:
    async def run(self, kind: Kind, tool: Tool) -> float:
        def echo(number: int) -> Any:
            try:
                tool(number).__await__().send(None)
            except StopIteration as end:  # it never waits
                return end.value

        executor = LocalPythonExecutor(additional_authorized_imports=[])
        executor.send_tools({"echo": echo, "final_answer": lambda answer: answer})
        if (value := executor(_PROGRAMS[kind]).output) != 1:
            raise RuntimeError(f"the program gave {value!r}")
        return time.perf_counter()

    def guests(self) -> list[int]:
        return []

    async def aclose(self) -> None:
        pass


def open_box() -> Box:
    """Return the sandbox. Each program has an executor of its own."""
    return _Executor()
