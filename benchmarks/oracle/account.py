"""Count the tokens of a task by the ways to do it: one call a turn, calls together, one program, one program and a repair.

Whole conversations are counted with the tokenizer o200k. The messages of the programs are those that the product sends, with its
rules, its examples and the tools; a script plays the model. An answer of the classical ways is what the program returns, cut to
a bound.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from os.path import commonprefix
from typing import Any

from codemode_sandboxes import Sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from benchmarks.oracle.convert import Converted
from benchmarks.oracle.play import specs
from benchmarks.oracle.suites import Case, ToolFacts
from codemode_graph import codemode

__all__ = ["CACHED", "OUTPUT", "Spent", "account"]

CACHED, OUTPUT = 0.1, 5.0
"""The price of a token that the provider has cached, and of one that the model writes; one that it reads anew costs 1."""

_FRAMING = 4  # tokens around a message
_ANSWER = 400  # characters of a classical answer
_BROKEN = "{}['no such key']"


@dataclass(slots=True)
class Spent:
    """The cost of one way.

    Attributes:
        requests: Requests to the model.
        read: Tokens that it reads, in all requests.
        cached: Those of them that the request before had too.
        written: Tokens that it writes.
        shared: Tokens before the task in the first request, which are the same for every task with these tools.
    """

    requests: int = 0
    read: int = 0
    cached: int = 0
    written: int = 0
    shared: int = 0

    def add(self, context: int, before: int, written: int) -> None:
        """Count one request, whose context begins with what the one before had."""
        self.requests += 1
        self.read += context
        self.cached += before
        self.written += written

    def to_json(self) -> dict[str, float]:
        """Return it with the sum of tokens, and the cost in tokens that are read anew.

        `cost` is that of the first task. Of a later one, `warm`, the provider has the shared tokens from the one before.
        """
        cost = self.read - self.cached + CACHED * self.cached + OUTPUT * self.written
        warm = cost - (1 - CACHED) * self.shared
        return {**asdict(self), "tokens": self.read + self.written, "cost": round(cost, 1), "warm": round(warm, 1)}


@cache
def _tokenizer() -> Callable[[str], int]:
    count: Callable[[str], int] = import_module("quicktok").get_encoding("o200k_base").count
    return count


def _tokens(texts: Iterable[str]) -> int:
    return sum(_tokenizer()(text) + _FRAMING for text in texts)


class _Script(BaseChatModel):
    """Writes these programs in turn, and keeps the conversations."""

    programs: list[str]
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "script"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        text = f"```python\n{self.programs[len(self.asked)]}\n```"
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


async def account(case: Case, right: Converted, sandbox: Sandbox) -> dict[str, Any]:
    """Return what each way takes for one task."""
    tools = case.open().tools
    first, _, rest = right.program.rpartition("\n")
    broken = f"{first}\n{_BROKEN}\n{rest}"
    program, answered = await _program(case, tools, [right.program], sandbox)
    return {
        "calls": len(right.calls),
        "sequential": _classical(case, tools, right, [[place] for place in range(len(right.calls))]).to_json(),
        "parallel": _classical(case, tools, right, _together(right.rounds)).to_json(),
        "program": program.to_json(),
        "answered": answered.to_json(),
        "repaired": (await _program(case, tools, [broken, right.program], sandbox))[0].to_json(),
    }


def _together(rounds: Sequence[int]) -> list[list[int]]:
    return [[place for place, number in enumerate(rounds) if number == each] for each in sorted(set(rounds))]


def _classical(case: Case, tools: Sequence[ToolFacts], right: Converted, turns: Sequence[Sequence[int]]) -> Spent:
    """Count an agent that calls tools: the tools and all messages are read again at each turn."""
    spent = Spent()
    definitions = [
        json.dumps(convert_to_openai_tool({**tool.input_schema, "title": tool.name, "description": tool.description}))
        for tool in tools
    ]
    system = [case.system or "You are a helpful assistant.", *definitions]
    spent.shared = _tokens(system)
    context, before = spent.shared + _tokens([case.text]), 0
    for turn in turns:
        written = _tokens(
            json.dumps({"name": name, "arguments": arguments})
            for name, arguments in (right.calls[place] for place in turn)
        )
        spent.add(context, before, written)
        before = context + written
        context = before + _tokens(json.dumps(right.results[place]) for place in turn)
    answer = case.answer or _cut(right.results[-1] if right.results else "")
    spent.add(context, before, _tokens([answer]))
    return spent


async def _program(
    case: Case, tools: Sequence[ToolFacts], programs: list[str], sandbox: Sandbox
) -> tuple[Spent, Spent]:
    """Count the product's own conversation; and the same with a last request, in which the model puts the value into words."""
    world, model = case.open(), _Script(programs=programs)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return world.call(name, arguments)

    graph = codemode(tools=specs(tools, call), code_model=model, sandbox=sandbox, instructions=case.system)
    result = await graph.run(case.text)
    if len(model.asked) != len(programs) or not result["success"]:
        raise RuntimeError(f"{case.suite} {case.name}: {len(model.asked)} programs were asked for; {result['error']}")
    spent, before = Spent(), list[str]()
    for place, messages in enumerate(model.asked):
        texts = [str(message.text) for message in messages]
        written = _tokens([f"```python\n{programs[place]}\n```"])
        spent.add(_tokens(texts), _common(before, texts), written)
        before = texts
    first = [str(message.text) for message in model.asked[0]]
    spent.shared = _tokens([*first[:-1], first[-1].rpartition(case.text)[0]])
    context, answered = _tokens(before) + written, replace(spent)
    answer = _tokens([case.answer or _cut(result["output"])])
    answered.add(context + _tokens([json.dumps(result["output"])]), context, answer)
    return spent, answered


def _common(before: Sequence[str], texts: Sequence[str]) -> int:
    """Return the tokens that two conversations begin with; the tools stand in one message with the task, before it."""
    same = next((place for place, pair in enumerate(zip(before, texts, strict=False)) if pair[0] != pair[1]), None)
    if same is None:
        return _tokens(before)
    return _tokens([*texts[:same], commonprefix([before[same], texts[same]])])


def _cut(value: Any) -> str:
    return json.dumps(value)[:_ANSWER]
