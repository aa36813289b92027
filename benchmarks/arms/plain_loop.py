"""A plain loop, as python-codemode describes its own: write a program, run it in this process, show the error, again.

python-codemode is in no package index, so this is written after its description. The names that a program may import are
few, for the sake of the machine; there is no other wall.
"""

import asyncio
import builtins
import inspect
import json
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks.arms.arm import MOST_ANSWERS, Do, Reply, call, tool_text
from benchmarks.small_tasks import TOOLSETS, Task

__all__ = ["open_arm"]

_SYSTEM = """\
You write Python programs that do the user's task with tools.

Reply with exactly one ```python block. Define `async def main():`; its return value is the answer. Call a tool as
`await tools['name'](argument=value)`. A tool returns plain Python values. Only these tools exist:

{tools}"""
_MODULES = ("asyncio", "collections", "datetime", "itertools", "json", "math", "re", "statistics", "typing")
_SECONDS = 30


def _import(name: str, *args: Any, **kwargs: Any) -> Any:
    if name.partition(".")[0] not in _MODULES:
        raise ImportError(f"no module named {name!r} may be imported")
    return __import__(name, *args, **kwargs)


_OMITTED = {"open", "exec", "eval", "compile", "input", "breakpoint", "__import__"}
_BUILTINS = {name: each for name, each in vars(builtins).items() if name not in _OMITTED} | {"__import__": _import}


async def _run(program: str, tools: dict[str, Any]) -> Any:
    names: dict[str, Any] = {"__builtins__": _BUILTINS, "__name__": "program", "tools": tools}
    exec(compile(program, "program", "exec"), names)
    return json.loads(json.dumps(await asyncio.wait_for(names["main"](), _SECONDS)))


@asynccontextmanager
async def open_arm(base_url: str, model: str, _variant: str) -> AsyncIterator[Do]:
    """Open the loop.

    Args:
        base_url: That of the model's server.
        model: The model's name there.
        _variant: There is one alone.
    """
    chat = ChatOpenAI(model=model, base_url=base_url, api_key=SecretStr("none"), timeout=600, max_retries=0)

    async def do(task: Task) -> Reply:
        functions = {each.tool_name: each for each in TOOLSETS[task.toolset].functions}  # type: ignore[attr-defined]
        shown = "\n".join(
            f"- {name}{inspect.signature(each).replace(return_annotation=inspect.Signature.empty)}: {tool_text(each)}"
            for name, each in functions.items()
        )
        tools = {name: partial(call, each) for name, each in functions.items()}
        messages: list[BaseMessage] = [SystemMessage(_SYSTEM.format(tools=shown)), HumanMessage(task.text)]
        transcript: list[str] = []
        for number in range(MOST_ANSWERS):
            text = str((await chat.ainvoke(messages)).text)
            found = re.search(r"```(?:python|py)?\n(.*?)(?:```|\Z)", text, re.DOTALL)
            program = found[1] if found else text
            transcript.append(program)
            try:
                value = await _run(program, tools)
            except Exception as error:
                said = traceback.format_exception_only(error)[-1].strip()
                transcript.append(f"failed: {said}")
                messages += [
                    AIMessage(text),
                    HumanMessage(f"The program failed: {said}\nWrite the whole program again."),
                ]
                continue
            return Reply(value=value, errors=number, transcript=transcript)
        return Reply(failed=transcript[-1], errors=MOST_ANSWERS, transcript=transcript)

    yield do
