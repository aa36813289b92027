"""Random values through every sandbox, journal, checkpointer and MCP, both ways: does one arrive as another?

Run it with `python -m benchmarks.fuzz_values 2000`, and with a second number for other values. A value is exact, or it is
refused where it would be changed, with an error that says so; what JSON has no type for arrives in the form that docs/values.md
states. It prints, for each way, how many values went, how many were refused, and the first that differ.
"""

import asyncio
import datetime
import decimal
import math
import random
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from codemode_sandboxes import (
    SANDBOXES,
    Blocked,
    Failed,
    Finished,
    Limits,
    Outcome,
    Program,
    Returned,
    Sandbox,
    SandboxUnavailable,
    create_sandbox,
)
from codemode_sandboxes.choice import find_lacks
from codemode_sandboxes.guest.json_values import MAX_DEPTH, has_surrogates
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from mcp.shared.memory import create_connected_server_and_client_session
from typing_extensions import TypedDict

from benchmarks.arguments import read_count_and_seed
from codemode_graph import codemode
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.log import Delivered, Done
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.calls.store import StoreJournal
from codemode_graph.calls.values import Values, is_reference
from codemode_graph.exact import decode, encode
from codemode_graph.integrations.mcp_server import create_mcp_server
from tests.durable.postgres import binaries, server

__all__ = [
    "Outcomes",
    "fuzz",
    "in_sandbox",
    "through_checkpoints",
    "through_journal",
    "through_mcp",
    "through_runs",
    "values",
    "written",
]

OpenSaver: TypeAlias = Callable[[], AbstractAsyncContextManager[BaseCheckpointSaver[Any]]]

TEXTS = [
    "", "a", "ünï", "😀", "\ud83d\ude00", "\ud800", "a\udfffb", "\0", "a\0b", "\\x00", "\\ud800", '"', "\\", "\n\r\t",
    "\x1b[0m", "\u2028\u2029", "\x7f\x85\ufeff", "NaN", "null", "1", "codemode_exact", "codemode_reference", "</script>",
    "{}", "' OR 1",
]  # fmt: skip
INTEGERS = [
    0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64,
    10**4213,
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 1.0, -1.5, 0.1 + 0.2, 1e16, 1e22, -1e300, 1.7976931348623157e308, 5e-324, 1e-7, 2.0**53, math.nan, math.inf,
    -math.inf,
]  # fmt: skip
EXACT_FORMS: list[Any] = [
    {"codemode_exact": ["float", "nan"]},
    {"codemode_exact": {"codemode_exact": ["int", "1"]}},
    {"codemode_exact": ["dict", [["a", 1]]]},
    {"codemode_reference": "x", "bytes": 1, "shape": "int", "sample": "1"},
]
REFUSED: list[Any] = [10**4299, b"bytes", b"\xff", {(1, 2): 3}, [{frozenset(): 1}], 1j, {1: 1, "1": 2}]


@dataclass
class Outcomes:
    """The results of the values on one way.

    Attributes:
        sent: How many went.
        refused: How many were refused, with an error.
        wrong: Those that arrived as others, each with what arrived.
    """

    sent: int = 0
    refused: int = 0
    wrong: list[tuple[Any, Any]] = field(default_factory=list)

    def note(self, value: Any, arrived: Any) -> None:
        """Count a value that arrived, against the form that is stated of it."""
        self.sent += 1
        if not same(stated(value), arrived):
            self.wrong.append((value, arrived))

    def refuse(self) -> None:
        """Count a value that was refused."""
        self.sent += 1
        self.refused += 1


def values(rng: random.Random, count: int, *, rich: bool = False) -> list[Any]:
    """Make values.

    Args:
        rng: The random numbers.
        count: How many.
        rich: With types that JSON has not, too, and with some that are refused.
    """
    fixed = [
        *TEXTS,
        *INTEGERS,
        *FLOATS,
        *EXACT_FORMS,
        None,
        True,
        False,
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        _nested(MAX_DEPTH),
    ]
    found = fixed + [_value(rng, 3, rich) for _ in range(max(0, count - len(fixed)))]
    return found[:count] if len(found) > count else found


def _value(rng: random.Random, depth: int, rich: bool) -> Any:
    kind = rng.randrange(9 if depth else 6)
    if rich and rng.random() < 0.2:
        return _rich(rng, depth)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([*INTEGERS, rng.randrange(-(2**80), 2**80), rng.randrange(-100, 100)])
    if kind == 2:
        return rng.choice([*FLOATS, rng.uniform(-1, 1) * 10.0 ** rng.randrange(-308, 308)])
    if kind in (3, 4, 5):
        return _text(rng)
    if kind == 6:
        return rng.choice(EXACT_FORMS)
    items = [_value(rng, depth - 1, rich) for _ in range(rng.randrange(4))]
    return items if kind == 7 else {_text(rng): item for item in items}


def _text(rng: random.Random) -> str:
    some = rng.choice(TEXTS)
    codes = [rng.choice([rng.randrange(128), rng.randrange(0xD7F0, 0xE010), rng.randrange(0x110000)]) for _ in range(3)]
    more = "".join(map(chr, codes))
    return rng.choice([some, some + more, rng.choice(TEXTS) + some])


def _rich(rng: random.Random, depth: int) -> Any:
    day = datetime.datetime(
        2026, 2, rng.randrange(1, 28), 23, 59, 58, rng.choice([0, 7]), rng.choice([None, datetime.UTC])
    )
    one = rng.choice(
        [
            day,
            day.date(),
            day.time(),
            datetime.timedelta(days=-1, microseconds=rng.randrange(10**6)),
            decimal.Decimal(rng.choice(["1.10", "NaN", "-0", "1E+30"])),
            uuid.UUID(int=rng.getrandbits(128)),
            {3, 20, 1},
            frozenset("ba"),
            (),
            (1, (_text(rng), None)),
            {1: "a", None: 2, False: -0.0} if rng.random() < 0.5 else {2.5: _text(rng), day.date(): 1},
            *rng.sample(REFUSED, 2),
        ]
    )
    return one if not depth or rng.random() < 0.5 else [one, {_text(rng): one}]


def _nested(depth: int) -> Any:
    value: Any = []
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return value


def stated(value: Any) -> Any:
    """Return the form in which a value arrives, written down anew: what docs/values.md says."""
    if isinstance(value, dict):
        return {str(stated(key)): stated(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((stated(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [stated(item) for item in value]
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal | uuid.UUID) else value


def same(left: Any, right: Any) -> bool:
    """Return whether two values are the same: of the same types, in the same order, with the same sign of zero."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return repr(left) == repr(right) if isinstance(left, float) else bool(left == right)


async def in_sandbox(sandbox: Sandbox, sent: list[Any]) -> dict[str, Outcomes]:
    """Send values into a program as results of a tool, and out of it as arguments and as its value.

    Args:
        sandbox: Where the program runs.
        sent: The values, made of JSON's types.

    Returns:
        What became of them: as results that the program passed on as arguments, and as values of programs.
    """
    outcomes = {"result and argument": Outcomes(), "value": Outcomes()}
    every = sent[:: max(1, len(sent) // 20)]
    if sandbox.name == "monty":
        # The run ends to which half of a surrogate pair comes, so each of these values has one of its own.
        for value in filter(has_surrogates, sent):
            event = await _run(sandbox, "await tools['next'](0)", ("next",), lambda *_, value=value: Returned(value))
            assert isinstance(event, Failed), event
            assert event.lacks
            outcomes["result and argument"].refuse()
        sent = [value for value in sent if not has_surrogates(value)]
    code = (
        f"for n in range({len(sent)}):\n    try:\n        value = await tools['next'](n)\n"
        "    except ValueError:\n        await tools['refused'](n)\n        continue\n"
        "    await tools['back'](n, value, named=value)\n"
    )

    def answer(tool: str, args: tuple[Any, ...], named: Any) -> Outcome:
        outcome, value = outcomes["result and argument"], sent[args[0]]
        if tool == "next":
            return Returned(value)
        if tool == "refused":
            outcome.refuse()
        else:
            outcome.note([value, value], [args[1], named["named"]])
        return Returned(None)

    event = await _run(sandbox, code, ("next", "refused", "back"), answer)
    assert isinstance(event, Finished), event
    for value in every:
        event = await _run(sandbox, "await tools['next'](0)", ("next",), lambda *_, value=value: Returned(value))
        _end(outcomes["value"], value, event)
    return outcomes


async def written(sandbox: Sandbox, sent: list[Any]) -> Outcomes:
    """Write values into a program, which passes each to a tool: of types that JSON has not, too."""
    outcomes = Outcomes()
    lines = ["nan, inf = float('nan'), float('inf')"]
    for number, value in enumerate(sent):
        names = {
            "datetime": "import datetime",
            "Decimal": "from decimal import Decimal",
            "UUID": "from uuid import UUID",
        }
        imports = [line for name, line in names.items() if name in ascii(value)]
        # The check of a run refuses, before it runs, what the sandbox does not offer.
        if find_lacks("\n".join([*imports, ascii(value)]), sandbox.capabilities):
            outcomes.refuse()
            continue
        lines += [
            *imports,
            "try:",
            f"    await tools['take']({number}, {value!a})",
            "except (TypeError, ValueError):",
            f"    await tools['refused']({number})",
        ]

    def answer(tool: str, args: tuple[Any, ...], named: Any) -> Outcome:
        if tool == "refused":
            outcomes.refuse()
        else:
            outcomes.note(sent[args[0]], args[1])
        return Returned(None)

    event = await _run(sandbox, "\n".join(lines), ("take", "refused"), answer)
    assert isinstance(event, Finished), event
    return outcomes


async def _run(
    sandbox: Sandbox, code: str, tools: tuple[str, ...], answer: Callable[..., Outcome]
) -> Finished | Failed:
    limits = Limits(seconds=300, calls=10**6)
    execution = await sandbox.start(Program(code=code, tools=tools), limits)
    try:
        event = await execution.advance()
        while isinstance(event, Blocked):
            event = await execution.advance(
                {call.id: answer(call.tool, call.args, call.kwargs) for call in event.calls}
            )
        return event
    finally:
        await execution.aclose()


def _end(outcomes: Outcomes, value: Any, event: Finished | Failed) -> None:
    if isinstance(event, Finished):
        outcomes.note(value, event.value)
    else:
        outcomes.refuse()


async def through_journal(journal: Journal, sent: list[Any]) -> Outcomes:
    """Record values as those of calls, and keep them apart as large ones."""
    outcomes = Outcomes()
    name = uuid.uuid4().hex
    events = [Done(call=number, time=1.0, value=value) for number, value in enumerate(sent)]
    length = await journal.append(name, 0, [Delivered(session=1, clock=0.0)])
    for start in range(0, len(events), 50):
        length = await journal.append(name, length, events[start : start + 50])
    for value, event in zip(sent, (await journal.read(name))[1:], strict=True):
        outcomes.note(value, getattr(event, "value", None))
    kept = Values(run=name, journal=journal)
    for value in sent:
        outcomes.note(value, await kept.load(await kept.keep(value, apart=True)))
    await journal.delete(name)
    return outcomes


class _State(TypedDict, total=False):
    output: Any
    tool_calls: list[Any]


async def through_checkpoints(open_saver: OpenSaver, sent: list[Any]) -> Outcomes:
    """Write values into the state of a graph, as nodes of code mode do, and read them with another checkpointer."""
    outcomes = Outcomes()
    written: _State = {}

    def write(state: _State) -> _State:
        return written

    graph = StateGraph(_State).add_node(write).add_edge(START, "write")
    async with open_saver() as saver:
        app = graph.compile(checkpointer=saver)
        for number, value in enumerate(sent):
            written = {"output": encode(value), "tool_calls": encode([{"value": value, "arguments": {"a": value}}])}
            await app.ainvoke({}, {"configurable": {"thread_id": f"{number}"}})
    async with open_saver() as saver:
        app = graph.compile(checkpointer=saver)
        for number, value in enumerate(sent):
            found = decode((await app.aget_state({"configurable": {"thread_id": f"{number}"}})).values)
            (call,) = found["tool_calls"]
            outcomes.note([value] * 3, [found["output"], call["value"], call["arguments"]["a"]])
    return outcomes


async def through_runs(sent: list[Any], durable: Path) -> Outcomes:
    """Run a program that passes values from tool to tool and returns them; read the result, and what is recorded of the run."""
    outcomes = Outcomes()

    async def give(n: int) -> Any:
        return sent[n]

    async def take(n: int, value: Any) -> None:
        outcomes.note(sent[n], value)

    code = (
        f"found = [await tools.give(n) for n in range({len(sent)})]\n"
        "for n, one in enumerate(found):\n    await tools.take(n, one)\nfound"
    )
    async with codemode(tools=[give, take], sandbox="restricted", durable=durable, max_tool_calls=10**6) as cm:
        result = await cm.run_code(code)
        assert result["success"], result["error"]
        recorded = await cm.result(str(result["run_id"]))
    for found in (result, recorded):
        outcomes.note(sent, found["output"])
        for call in found["tool_calls"]:
            arrived = call["value"] if call["tool"] == "give" else call["arguments"]["value"]
            if not is_reference(arrived):  # as a value that looks like one is kept
                outcomes.note(sent[call["arguments"]["n"]], arrived)
    return outcomes


async def through_mcp(sent: list[Any]) -> Outcomes:
    """Have the MCP server of `codemode-graph serve` run programs that return values, and read its structured answers."""
    outcomes = Outcomes()
    async with codemode(tools=[], sandbox="restricted") as cm:
        server = create_mcp_server(cm, tasks=False)
        async with create_connected_server_and_client_session(server) as client:
            for value in sent:
                code = f"nan, inf = float('nan'), float('inf')\n{value!a}"
                answer = await client.call_tool("run_code", {"code": code})
                report = decode(answer.structuredContent)
                outcomes.note(value, report["output"]) if report["success"] else outcomes.refuse()
    return outcomes


async def fuzz(count: int, *, seed: int = 1, sandboxes: Sequence[str] = tuple(SANDBOXES)) -> dict[str, Outcomes]:
    """Send this many values each way, those that go one at a time through a process a tenth of them.

    Args:
        count: How many.
        seed: Of the random numbers.
        sandboxes: Where programs run; one that is not available is left out, with a line that says why.

    Returns:
        What became of them, by the way.
    """
    found: dict[str, Outcomes] = {}
    plain = values(random.Random(seed), count)
    few = plain[:150]
    # A list of the deepest value would be too deep.
    shallow = [value for value in few if not same(value, _nested(MAX_DEPTH))]
    for name in sandboxes:
        sandbox = create_sandbox(name)
        try:
            ways = await in_sandbox(sandbox, plain)
            ways["written in the program"] = await written(sandbox, values(random.Random(seed + 1), count, rich=True))
        except SandboxUnavailable as error:
            print(f"{name} is left out: {error}")
            continue
        finally:
            await sandbox.aclose()
        found |= {f"{name}: {way}": outcomes for way, outcomes in ways.items()}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        memory = InMemorySaver()

        @asynccontextmanager
        async def in_memory() -> AsyncIterator[BaseCheckpointSaver[Any]]:
            yield memory

        savers: dict[str, OpenSaver] = {
            "checkpoints in memory": in_memory,
            "checkpoints in SQLite": lambda: AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")),
        }
        journals: dict[str, Journal] = {
            "journal in memory": MemoryJournal(),
            "journal in SQLite": SQLiteJournal(folder / "journal.db"),
            "journal in a store": StoreJournal(InMemoryStore()),
        }
        if (programs := binaries()) is not None:
            database = stack.enter_context(server(programs)).create()

            @asynccontextmanager
            async def in_postgres() -> AsyncIterator[BaseCheckpointSaver[Any]]:
                async with AsyncPostgresSaver.from_conn_string(database) as saver:
                    await saver.setup()
                    yield saver

            savers["checkpoints in PostgreSQL"] = in_postgres
            journals["journal in PostgreSQL"] = PostgresJournal(database)
        for way, journal in journals.items():
            found[way] = await through_journal(journal, plain)
            await journal.aclose()
        if programs is not None:
            async with AsyncPostgresStore.from_conn_string(database) as store:
                await store.setup()
                found["journal in a store in PostgreSQL"] = await through_journal(StoreJournal(store), plain)
        for way, open_saver in savers.items():
            found[way] = await through_checkpoints(open_saver, few)
        found["runs in SQLite"] = await through_runs(shallow, folder / "runs.db")
    found["MCP server"] = await through_mcp(few)
    return found


def main(count: int, seed: int) -> int:
    """Send the values, print what became of them, and return the number of those that differ."""
    found = asyncio.run(fuzz(count, seed=seed))
    for way, outcomes in found.items():
        print(f"{way:45} {outcomes.sent:6} sent  {outcomes.refused:5} refused  {len(outcomes.wrong):4} differ")
        for value, arrived in outcomes.wrong[:3]:
            print(f"    {ascii(value)[:300]}\n    arrived as {ascii(arrived)[:300]}")
    return sum(len(outcomes.wrong) for outcomes in found.values())


if __name__ == "__main__":
    sys.exit(main(*read_count_and_seed("benchmarks.fuzz_values", __doc__, count=2_000, cases="values")) > 0)
