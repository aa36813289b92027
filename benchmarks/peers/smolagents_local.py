"""smolagents: its LocalPythonExecutor, and its CodeAgent with a scripted model.

Its programs are synchronous: they call one tool after another where those of others gather. Its documentation says that
this executor is no security boundary.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from inspect import signature
from typing import Any

from smolagents import CodeAgent, LogLevel, Model, Tool  # type: ignore[import-not-found]
from smolagents.local_python_executor import LocalPythonExecutor  # type: ignore[import-not-found]
from smolagents.models import ChatMessage, MessageRole  # type: ignore[import-not-found]

from benchmarks.peers.tools import EXPECTED, GATHERED, LISTED, LOOPED, LOOPED_FAR, TOOLS
from benchmarks.peers.worker import Run, Ways

__all__ = ["open_ways"]

_LOOP = """\
total = 0
for number in range({count}):
    total += get_item(id=number)["price"]
final_answer({{"total": total}})
"""

_PROGRAMS = (
    'final_answer({"sum": 1 + 1})\n',
    'final_answer({"price": get_item(id=1)["price"]})\n',
    _LOOP.format(count=LOOPED),
    _LOOP.format(count=LOOPED_FAR),
    f"""\
items = [get_item(id=number) for number in range({GATHERED})]
final_answer({{"total": sum([item["price"] for item in items])}})
""",
    f"""\
listing = list_items(limit={LISTED})
items = [get_item(id=number) for number in listing["ids"]]
wanted = [item for item in items if item["in_stock"] and item["price"] < 150]
final_answer({{"count": len(wanted), "total": sum([item["price"] for item in wanted])}})
""",
)


def _synchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that does the same. The async one never waits, so its first step is its last."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            function(*args, **kwargs).send(None)
        except StopIteration as end:
            return end.value

    return call


_SYNCHRONOUS = {tool.__name__: _synchronous(tool) for tool in TOOLS}


class _ShopTool(Tool):  # type: ignore[misc]
    """A tool for an agent. `smolagents.tool` refuses functions whose source says `async def`."""

    output_type = "object"
    skip_forward_signature_validation = True

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name, self.description = function.__name__, function.__doc__
        kinds = {"int": "integer", "str": "string"}
        self.inputs = {
            name: {"type": kinds[parameter.annotation.__name__], "description": name}
            | ({"nullable": True} if parameter.default is not parameter.empty else {})
            for name, parameter in signature(function).parameters.items()
        }
        self._function = function
        super().__init__()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)


class _Scripted(Model):  # type: ignore[misc]
    """Writes the same program each time, and the comment that the task ends in."""

    def __init__(self, program: str) -> None:
        super().__init__(model_id="scripted")
        self._program = program

    def generate(self, messages: list[Any], **kwargs: Any) -> Any:
        """Return the program as the model of an agent writes it."""
        comment = messages[-1].content[-1]["text"].rpartition("\n")[2]
        text = f"Thought: I will call the tools.\n<code>\n{self._program}{comment}\n</code>"
        return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def _executor(program: str) -> Run:
    async def run(comment: str) -> Any:
        executor = LocalPythonExecutor(additional_authorized_imports=[])
        executor.send_tools({**_SYNCHRONOUS, "final_answer": lambda answer: answer})
        return executor(program + comment).output

    return run


def _agent(program: str) -> Run:
    tools = [_ShopTool(function) for function in _SYNCHRONOUS.values()]
    agent = CodeAgent(tools=tools, model=_Scripted(program), verbosity_level=LogLevel.OFF)

    async def run(comment: str) -> Any:
        return agent.run(f"Do it.\n{comment.strip()}")

    return run


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Yield the ways. Each program has a new executor, as it has a new sandbox elsewhere; an agent makes its own."""
    yield {
        "smolagents": dict(zip(EXPECTED, map(_executor, _PROGRAMS), strict=True)),
        "smolagents agent": dict(zip(EXPECTED, map(_agent, _PROGRAMS), strict=True)),
    }
