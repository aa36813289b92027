"""The cost of a run that goes on in another sandbox, beside one that stays on Monty and one that begins elsewhere.

Run it with `python -m benchmarks.handover`. The three programs make the same ten calls, one after the other, of a tool that
answers at once. The second has a generator, for which `auto` takes `restricted` before it begins; the third comes to a key that
is NaN, for which it moves there after the tenth call. They run in turn, and guests are ready when they start.
"""

import argparse
import asyncio
import math
import time
from statistics import median

from codemode_sandboxes import AutoSandbox, Blocked, Choice, Finished, Limits, Program, Returned

from benchmarks.arguments import at_least_one
from benchmarks.figures import duration

__all__ = ["measure"]

_CALLS = "found = {}\nfor n in range(10):\n    found[await tools.key(n)] = n\n"
PROGRAMS = {
    "stays on Monty": (f"{_CALLS}len(found)", ["monty"]),
    "begins in `restricted`": (f"{_CALLS}def each():\n    yield from found\nlen(list(each()))", ["restricted"]),
    "moves after ten calls": (f"{_CALLS}len(found)", ["monty", "restricted"]),
}
"""By what becomes of each program, its text, and where it runs."""

_NEXT_START = 0.05  # until the guest that takes the place of the last one is ready


async def measure(runs: int) -> dict[str, list[float]]:
    """Return the seconds of each run of each program.

    Args:
        runs: How many of each.
    """
    auto = AutoSandbox(["monty", "restricted"])
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    try:
        for number in range(runs + 2):
            for name in PROGRAMS:
                await asyncio.sleep(_NEXT_START)
                seconds = await _run(auto, name)
                if number > 1:  # the first ones find out what the sandboxes offer, and start their guests
                    found[name].append(seconds)
    finally:
        await auto.aclose()
    return found


async def _run(auto: AutoSandbox, name: str) -> float:
    """Return the seconds of one run, from the choice of a sandbox to the program's value."""
    code, places = PROGRAMS[name]
    program = Program(code=code, tools=("key",))
    moved: list[Choice] = []
    start = time.perf_counter()
    choice = await auto.choose(program)
    execution = await auto.handover(choice.sandbox, program, moved.append).start(program, Limits())
    try:
        event = await execution.advance()
        while isinstance(event, Blocked):
            answers = {call.id: Returned(_key(name, call.args[0])) for call in event.calls}
            event = await execution.advance(answers)
        seconds = time.perf_counter() - start
    finally:
        await execution.aclose()
    assert isinstance(event, Finished), event
    assert [choice.sandbox.name, *(each.sandbox.name for each in moved)] == places, (choice, moved)
    return seconds


def _key(name: str, number: int) -> float:
    return math.nan if number == 9 and len(PROGRAMS[name][1]) > 1 else number + 0.5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.handover", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="?", type=at_least_one, default=60, help="runs of each program (default: 60)")
    found = asyncio.run(measure(parser.parse_args().runs))
    plain = median(found["stays on Monty"])
    print("| a program with ten calls | median | of one that stays |\n| --- | --: | --: |")
    for name, seconds in found.items():
        print(f"| {name} | {duration(median(seconds))} | {median(seconds) / plain:.1f}× |")


if __name__ == "__main__":
    main()
