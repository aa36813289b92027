"""Run a program in a sandbox, whole or with its process killed at a random call, and compare the world with the right one."""

import asyncio
import json
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from codemode_sandboxes import Returned, Sandbox

from benchmarks.oracle.convert import Converted
from benchmarks.oracle.suites import Case, ToolFacts, World
from codemode_graph import codemode
from codemode_graph.tools.spec import CutOffCall, ToolPolicy, ToolSpec

__all__ = ["play", "play_killed", "specs"]

Calls = list[tuple[str, dict[str, Any]]]
_SECONDS = 120  # a child that says nothing for so long hangs


def specs(
    tools: Sequence[ToolFacts], call: Callable[..., Any], verify: Callable[..., Any] | None = None
) -> list[ToolSpec]:
    """Return tools for the product.

    Args:
        tools: What the set says of them.
        call: Makes a call, by a tool's name and its arguments.
        verify: Returns the values of equal calls that took effect.
    """

    def one(facts: ToolFacts) -> ToolSpec:
        async def make(arguments: dict[str, Any], config: Any) -> Any:
            return await call(facts.name, arguments)

        async def check(arguments: Any, cut_off: CutOffCall) -> Returned | None:
            assert verify is not None
            values = await verify(facts.name, dict(arguments))
            return Returned(values[-1]) if len(values) > cut_off.equal_done else None

        policy = ToolPolicy(verify=check) if verify is not None and facts.effect != "read" else ToolPolicy()
        return ToolSpec(
            name=facts.name,
            call=make,
            description=facts.description,
            input_schema=facts.input_schema,
            effect=facts.effect,  # type: ignore[arg-type]
            policy=policy,
        )

    return [one(facts) for facts in tools]


def _outcome(
    case: Case, right: Converted, world: World, calls: Calls, output: Any, error: str | None
) -> dict[str, Any]:
    """Return what came of a program: its set's verdict, and its effects beside the right ones."""
    effects = {tool.name for tool in world.tools if tool.effect != "read"}

    def made(calls: Calls) -> Counter[str]:
        return Counter(json.dumps([name, arguments], sort_keys=True) for name, arguments in calls if name in effects)

    return {
        "error": error,
        "solved": error is None and world.is_solved(str(output), calls),
        "effects once": made(calls) == made(right.calls),
    }


async def play(case: Case, right: Converted, sandbox: Sandbox) -> dict[str, Any]:
    """Run the program of a task once, in a new world. The sandbox serves all tasks: the caller closes it."""
    world, calls = case.open(), Calls()

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        calls.append((name, arguments))
        return world.call(name, arguments)

    result = await codemode(tools=specs(world.tools, call), sandbox=sandbox).run_code(right.program)
    outcome = _outcome(case, right, world, calls, result["output"], None if result["success"] else str(result["error"]))
    return {**outcome, "sandbox": result["sandbox"]}


def play_killed(case: Case, right: Converted, folder: Path, chance: random.Random) -> dict[str, Any]:
    """Run the program in a process that is killed at a random call, and go on with it in another."""
    world, calls = case.open(), Calls()
    landed: list[tuple[str, dict[str, Any], Any]] = []
    place, performed = chance.randrange(len(right.calls)), chance.random() < 0.5
    journal = folder / f"{case.suite}-{case.name}.db".replace(" ", "-")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    answer: dict[str, Any] = {}
    killed = asked = False
    for _ in range(3):
        here, there = context.Pipe()
        child = context.Process(target=_child, args=(there, world.tools, right.program, str(journal)), daemon=False)
        child.start()
        there.close()
        with suppress(EOFError, ConnectionResetError):
            while True:
                if not here.poll(_SECONDS):
                    raise TimeoutError(f"{case.suite} {case.name}: no word from the program's process")
                kind, *rest = here.recv()
                if kind == "over":
                    (answer,) = rest
                    break
                name, arguments = rest
                if kind == "landed":
                    asked = True
                    here.send(
                        ("value", [value for known, given, value in landed if (known, given) == (name, arguments)])
                    )
                    continue
                dies = not killed and len(calls) == place
                if not dies or performed:
                    reply = _perform(world, name, arguments)
                    calls.append((name, arguments))
                    if reply[0] == "value":
                        landed.append((name, arguments, reply[1]))
                if dies:
                    killed = True
                    child.kill()
                    break
                here.send(reply)
        child.join()
        here.close()
        if answer:
            break
    outcome = _outcome(case, right, world, calls, answer.get("output"), answer.get("error", "its process ended"))
    return {**outcome, "killed": killed, "after the effect": performed, "verified": asked}


def _perform(world: World, name: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "value", world.call(name, arguments)
    except Exception as error:
        return "error", str(error)


def _child(parent: Connection, tools: Sequence[ToolFacts], program: str, journal: str) -> None:
    """Run the program, or go on with it; the world is in the parent."""
    turn = asyncio.Lock()

    async def ask(kind: str, name: str, arguments: dict[str, Any]) -> Any:
        async with turn:
            parent.send((kind, name, arguments))
            word, value = await asyncio.to_thread(parent.recv)
        if word == "error":
            raise ValueError(value)
        return value

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return await ask("call", name, arguments)

    async def landed(name: str, arguments: dict[str, Any]) -> Any:
        return await ask("landed", name, arguments)

    async def run() -> None:
        async with codemode(tools=specs(tools, call, landed), sandbox="auto", durable=journal) as cm:
            result = await cm.run_code(program, run_id="oracle")
        parent.send(
            ("over", {"output": result["output"], "error": None if result["success"] else str(result["error"])})
        )

    asyncio.run(run())
