"""smolagents' CodeAgent: a program for each step, run by its executor in this process, until one gives the final answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import Parameter, signature
from typing import Any, Literal, get_args, get_origin

from smolagents import CodeAgent, LogLevel, OpenAIModel, Tool  # type: ignore[import-not-found]

from benchmarks.arms.arm import Do, Reply, call, tool_text
from benchmarks.small_tasks import TOOLSETS, Task

__all__ = ["open_arm"]

_STEPS = 8
_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


class _Tool(Tool):  # type: ignore[misc]
    """A tool for the agent, which calls tools synchronously; these never wait."""

    output_type = "object"
    skip_forward_signature_validation = True

    def __init__(self, function: Any) -> None:
        self.name = function.tool_name.replace("-", "_")  # a name has to be an identifier there
        self.description = tool_text(function)
        self.inputs = {name: _input(name, each) for name, each in signature(function).parameters.items()}
        self._function: Callable[..., Any] = function
        super().__init__()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        try:
            call(self._function, *args, **kwargs).send(None)
        except StopIteration as end:
            return end.value


def _input(name: str, parameter: Parameter) -> dict[str, Any]:
    kind = parameter.annotation
    if get_origin(kind) is Literal:
        return {"type": "string", "description": f"{name}, one of {', '.join(map(repr, get_args(kind)))}"}
    return {"type": _KINDS[kind], "description": name}


def _run(agent: Any, text: str) -> Reply:
    value = agent.run(text)
    steps = [each for each in agent.memory.steps if hasattr(each, "model_output")]
    failures = [str(each.error) for each in steps if each.error]
    transcript = [str(each.model_output) + (f"\nfailed: {each.error}" if each.error else "") for each in steps]
    # Past its last step the agent asks for an answer without tools: that is a guess, but it is given as an answer.
    return Reply(value=json.loads(json.dumps(value, default=str)), errors=len(failures), transcript=transcript)


@asynccontextmanager
async def open_arm(base_url: str, model: str, _variant: str) -> AsyncIterator[Do]:
    """Open the agent anew for each task: it has no memory.

    Args:
        base_url: That of the model's server.
        model: The model's name there.
        _variant: There is one alone.
    """
    server = OpenAIModel(model_id=model, api_base=base_url, api_key="none")

    async def do(task: Task) -> Reply:
        tools = [_Tool(each) for each in TOOLSETS[task.toolset].functions]
        agent = CodeAgent(tools=tools, model=server, max_steps=_STEPS, verbosity_level=LogLevel.OFF)
        return await asyncio.to_thread(_run, agent, task.text)

    yield do
