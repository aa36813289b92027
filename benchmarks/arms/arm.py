"""The parts that every way to do a task has in common: the process that follows orders, and how an answer in words is read."""

import ast
import asyncio
import importlib
import inspect
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from benchmarks.small_tasks import TASKS, TOOLSETS, Task
from benchmarks.systems import installed_packages, read_orders, take_stdout

__all__ = ["MOST_ANSWERS", "Do", "Reply", "call", "read_words", "tool_text"]

MOST_ANSWERS = 4
"""Programs that a way may write for a task, the first included, where it bounds them."""

FORM = (
    "When the task is done, give the answer alone, as JSON: a number, a text, a list or an object, in the form that the task "
    "asks for, with no word around it."
)
"""The instruction for ways whose model answers in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The outcome of a task.

    Attributes:
        value: The answer.
        failed: Why there is none, as the system itself says; empty where there is one.
        errors: How many failures the model was told of.
        transcript: The programs or calls of the model, and its words, for a reader.
    """

    value: Any = None
    failed: str = ""
    errors: int = 0
    transcript: list[str] = field(default_factory=list)


Do: TypeAlias = Callable[[Task], Awaitable[Reply]]
Open: TypeAlias = Callable[[str, str, str], AbstractAsyncContextManager[Do]]
"""Opens a way, by the URL of the model's server, the model's name, and the variant."""


async def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a tool, whether it is synchronous or not."""
    value = function(*args, **kwargs)
    return await value if inspect.isawaitable(value) else value


def tool_text(function: Callable[..., Any]) -> str:
    """Return a tool's description, with the fields of the records that it returns where it declares them."""
    text = inspect.getdoc(function) or ""
    shape = inspect.signature(function).return_annotation
    if shape is inspect.Signature.empty:
        return text
    return f"{text}\nReturns: {_shape(shape)}"


def _shape(annotation: Any) -> str:
    fields = getattr(annotation, "__annotations__", None) if isinstance(annotation, type) else None
    if fields:
        return "{" + ", ".join(f"{name!r}: {_shape(each)}" for name, each in fields.items()) + "}"
    if getattr(annotation, "__origin__", None) is list:
        return f"list of {_shape(annotation.__args__[0])}"
    return getattr(annotation, "__name__", str(annotation).replace("typing.", ""))


_SORRY = re.compile(r"\bFAILED\b|\b(?:sorry|unable to|cannot|can't|could not|couldn't)\b", re.IGNORECASE)


def read_words(text: str) -> Reply:
    """Return the answer in a model's last words: JSON, also in a fence, or else the words themselves."""
    stripped = text.strip()
    fenced = re.findall(r"```\w*\n(.*?)```", stripped, re.DOTALL)
    for candidate in [stripped, *reversed(fenced)]:
        for read in (json.loads, ast.literal_eval):
            try:
                return Reply(value=json.loads(json.dumps(read(candidate.strip()))))
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
    # Words that give up are no wrong answer: this is in favour of ways that answer in words.
    if not stripped or _SORRY.search(stripped):
        return Reply(failed=stripped[:300] or "there are no last words")
    return Reply(value=stripped)


async def _serve(
    module: str, base_url: str, model: str, variant: str, answer: Callable[[Mapping[str, Any]], None]
) -> None:
    """Open the way, and do tasks by their names until standard input ends."""
    open_arm: Open = importlib.import_module(module).open_arm
    tasks = {task.name: task for task in TASKS}
    async with open_arm(base_url, model, variant) as do:
        answer({"packages": installed_packages()})
        async for order in read_orders():
            task = tasks[order["task"]]
            ledger = TOOLSETS[task.toolset].ledger
            ledger.clear()
            try:
                reply = await do(task)
            except Exception as error:
                reply = Reply(failed=f"{type(error).__name__}: {error}"[:500])
            answer({**asdict(reply), "changes": [list(change) for change in ledger]})


if __name__ == "__main__":
    module, base_url, model, variant = sys.argv[1:]
    asyncio.run(_serve(module, base_url, model, variant, take_stdout()))
