"""codemode-graph: whole, and without one of its parts."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from codemode_sandboxes.source import to_script
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks.arms.arm import MOST_ANSWERS, Do, Reply
from benchmarks.small_tasks import TOOLSETS, Task
from codemode_graph.api import CodeMode, codemode
from codemode_graph.check import Checked
from codemode_graph.result import RunResult
from codemode_graph.tools import tool

__all__ = ["answer_type", "open_arm"]


async def _unchecked(program: str, **_facts: Any) -> Checked:
    """Return the program as it is, but for the form in which sandboxes run it."""
    return Checked(program=to_script(program).code)


def answer_type(expected: Any) -> dict[str, Any]:
    """Return the JSON schema of a task's answer, as a caller declares it who knows the kind of the answer alone.

    Args:
        expected: The answer. Keys of a dict are not told, as some tasks ask for them; those of a record are free.
    """
    match expected:
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case dict():
            return {"type": "object", "additionalProperties": answer_type(next(iter(expected.values())))}
        case list():
            return {"type": "array", "items": answer_type(expected[0])} if expected else {"type": "array"}
        case tuple():
            return {"anyOf": [{"type": "object"}, {"type": "array"}]}
    return {}


def _read(result: RunResult[Any]) -> Reply:
    lines = []
    for attempt in result["attempts"]:
        lines += [f"# {attempt['verdict']}\n{attempt['program'].strip() or attempt['thoughts']}"]
        lines += [f"fixed: {fix}" for fix in attempt["fixes"]]
        lines += [f"found: {finding['rule']}: {finding['message']}" for finding in attempt["findings"]]
        if attempt["failure"] is not None and not attempt["findings"]:
            lines.append(f"failed: {attempt['failure']['type']}: {attempt['failure']['message']}")
    return Reply(
        value=json.loads(json.dumps(result["output"], default=str)),
        failed="" if result["success"] else result["error"] or "there is no error message",
        errors=len(result["attempts"]) - 1,
        transcript=lines,
    )


@asynccontextmanager
async def open_arm(base_url: str, model: str, variant: str) -> AsyncIterator[Do]:
    """Open one `CodeMode` for each set of tools, as an application does: it learns what undeclared tools return.

    Args:
        base_url: That of the model's server.
        model: The model's name there.
        variant: `whole`; `answer declared`, where each task has the type of its answer; `no check`, where programs run
            as they are; `no repair`; `no observed types`, where nothing is remembered from one task to the next.
    """
    if variant == "no check":
        import_module("codemode_graph.nodes.check").check_program = _unchecked  # type: ignore[attr-defined]
    # The meter sets the rest of the sampling. Without a temperature none would be raised for a repair.
    chat = ChatOpenAI(
        model=model, base_url=base_url, api_key=SecretStr("none"), temperature=0, timeout=600, max_retries=0
    )
    attempts = 1 if variant == "no repair" else MOST_ANSWERS
    opened: dict[str, CodeMode] = {}
    async with AsyncExitStack() as stack:

        async def do(task: Task) -> Reply:
            cm = opened.get(task.toolset)
            if cm is None or variant == "no observed types":
                functions = [
                    tool(effect=each.effect, name=each.tool_name)(each)  # type: ignore[attr-defined]
                    for each in TOOLSETS[task.toolset].functions
                ]
                cm = codemode(tools=functions, code_model=chat, max_attempts=attempts)
                opened[task.toolset] = await stack.enter_async_context(cm)
            returns = answer_type(task.expected) if variant == "answer declared" else None
            return _read(await cm.run(task.text, returns=returns))

        yield do
