"""Count the tokens of a task by the ways to do it: one call a turn, calls together, one program, one program and a repair.

Whole conversations are counted with the tokenizer o200k. The messages of the programs are those that the product sends, with
its rules, its examples and the tools; a script plays the model. An answer of the classical ways is what the program returns,
cut to a bound. Where the user has several turns, each gets a program of its own, and reads what was said and returned before.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib import import_module
from typing import Any

from codemode_sandboxes import Sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from benchmarks.oracle.convert import Converted, convert
from benchmarks.oracle.play import specs
from benchmarks.oracle.suites import Case, ToolFacts, World
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
        cached: Those of them that a request before had too.
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


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn of the user: the words, the same after what was said and returned before, and the program."""

    said: str
    text: str
    right: Converted


async def account(case: Case, right: Converted, sandbox: Sandbox) -> dict[str, Any]:
    """Return what each way takes for one task."""
    tools = case.open().tools
    turns = _turns(case) if case.turns else [_Turn(case.text, case.text, right)]
    program, answered = await _program(case, tools, turns, sandbox)
    repaired, _ = await _program(case, tools, turns, sandbox, broken=True)
    return {
        "calls": len(right.calls),
        "sequential": _classical(case, tools, turns, lambda turn: [[place] for place, _ in enumerate(turn.calls)]),
        "parallel": _classical(case, tools, turns, lambda turn: _together(turn.rounds)),
        "program": program.to_json(),
        "answered": answered.to_json(),
        "repaired": repaired.to_json(),
    }


def _turns(case: Case) -> list[_Turn]:
    """Return the turns of a conversation that have calls, each with a program, after what was said and returned before."""
    turns: list[_Turn] = []
    done, history = 0, ""
    for text, count in case.turns:
        whole = f"{history}{text}"
        part = replace(case, text=whole, actions=case.actions[done : done + count], open=partial(_after, case, done))
        history = f"{whole}\n"
        if count:
            right = convert(part)
            turns.append(_Turn(text, whole, right))
            history += f"Returned: {json.dumps(right.results[-1])}\n"
        done += count
    return turns


def _after(case: Case, count: int) -> World:
    """Return the world after the first calls of a conversation."""
    world = case.open()
    for name, arguments in case.actions[:count]:
        world.call(name, arguments)
    return world


def _together(rounds: Sequence[int]) -> list[list[int]]:
    return [[place for place, number in enumerate(rounds) if number == each] for each in sorted(set(rounds))]


def _classical(
    case: Case, tools: Sequence[ToolFacts], turns: Sequence[_Turn], split: Callable[[Converted], list[list[int]]]
) -> dict[str, float]:
    """Count an agent that calls tools: the tools and all messages are read again at each request."""
    spent = Spent()
    definitions = [
        json.dumps(convert_to_openai_tool({**tool.input_schema, "title": tool.name, "description": tool.description}))
        for tool in tools
    ]
    spent.shared = _tokens([case.system or "You are a helpful assistant.", *definitions])
    context, before = spent.shared, 0
    for turn in turns:
        context += _tokens([turn.said])
        for calls in split(turn.right):
            written = _tokens(
                json.dumps({"name": name, "arguments": arguments})
                for name, arguments in (turn.right.calls[each] for each in calls)
            )
            spent.add(context, before, written)
            before = context + written
            context = before + _tokens(json.dumps(turn.right.results[each]) for each in calls)
        answer = _tokens([case.answer or _cut(turn.right.results[-1] if turn.right.results else "")])
        spent.add(context, before, answer)
        before = context = context + answer
    return spent.to_json()


async def _program(
    case: Case, tools: Sequence[ToolFacts], turns: Sequence[_Turn], sandbox: Sandbox, *, broken: bool = False
) -> tuple[Spent, Spent]:
    """Count the product's own conversations; and the same with a last request, in which the model puts the value into words.

    Args:
        case: The task.
        tools: Its tools.
        turns: The user's turns.
        sandbox: Where the programs run.
        broken: Ask for each program twice: the first one fails after its calls.
    """
    world = case.open()

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return world.call(name, arguments)

    spent, answers = Spent(), Spent()
    known: list[list[str]] = []
    for turn in turns:
        programs = [_break(turn.right.program)] * broken + [turn.right.program]
        model = _Script(programs=programs)
        graph = codemode(tools=specs(tools, call), code_model=model, sandbox=sandbox, instructions=case.system)
        result = await graph.run(turn.text)
        if len(model.asked) != len(programs) or not result["success"]:
            raise RuntimeError(f"{case.suite} {case.name}: {len(model.asked)} of {len(programs)}; {result['error']}")
        for messages, program in zip(model.asked, programs, strict=True):
            texts = [str(message.text) for message in messages]
            written = _tokens([f"```python\n{program}\n```"])
            if not known:
                spent.shared = _tokens([*texts[:-1], texts[-1].rpartition(turn.text)[0]])
            spent.add(_tokens(texts), max((_common(before, texts) for before in known), default=0), written)
            known.append(texts)
        context, value = _tokens(texts) + written, json.dumps(result["output"])
        answers.add(context + _tokens([value]), context, _tokens([case.answer or _cut(result["output"])]))
    answered = Spent(**{key: value + getattr(answers, key) for key, value in asdict(spent).items()})
    return spent, answered


def _break(program: str) -> str:
    first, _, rest = program.rpartition("\n")
    return f"{first}\n{_BROKEN}\n{rest}"


def _common(before: Sequence[str], texts: Sequence[str]) -> int:
    """Return the tokens that two conversations begin with; the tools stand in one message with the task, before it."""
    for place, (one, other) in enumerate(zip(before, texts, strict=False)):
        if one != other:
            same = next((end for end, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
            return _tokens([*texts[:place], other[:same]])
    return _tokens(before)


def _cut(value: Any) -> str:
    return json.dumps(value)[:_ANSWER]
