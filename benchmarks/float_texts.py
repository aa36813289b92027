"""Counts the floats whose last digit Monty writes otherwise than CPython, by what the floats are.

Run it with `python -m benchmarks.float_texts`. It sends random floats of each kind into Monty, and compares their `repr`s with
those of this process.
"""

import argparse
import random
from collections.abc import Callable
from functools import partial

from codemode_sandboxes.monty.convert import OtherText, check_floats
from pydantic_monty import Monty

from benchmarks.arguments import at_least_one

__all__ = ["count"]

_YEARS = 1_600_000_000, 1_900_000_000  # seconds since the epoch, from 2020 to 2030
_SECONDS = 60.0


def _draw(least: float, rng: random.Random) -> float:
    return rng.uniform(least, 10 * least)


KINDS: dict[str, Callable[[random.Random], float]] = {
    "sums of 20 amounts of money": lambda rng: sum(round(rng.uniform(0, 1e4), 2) for _ in range(20)),
    "averages of integers up to a million": lambda rng: rng.randint(0, 10**6) / rng.randint(1, 1000),
    "averages of integers up to 10**15": lambda rng: rng.randint(0, 10**15) / rng.randint(1, 1000),
    "seconds since the epoch, with microseconds": lambda rng: rng.randint(*(n * 10**6 for n in _YEARS)) / 10**6,
    "nanoseconds since the epoch": lambda rng: float(rng.randint(*(n * 10**9 for n in _YEARS))),
    "nanoseconds since the epoch, divided by 1,000": lambda rng: rng.randint(*(n * 10**9 for n in _YEARS)) / 1000,
    **{f"random from 1e{power} to 1e{power + 1}": partial(_draw, 10.0**power) for power in (9, 11, 13, 14, 15, 16)},
}


def count(number: int, seed: int = 1) -> dict[str, tuple[int, int]]:
    """Return, of so many floats of each kind, how many have another text in Monty, and of how many the host notices it.

    Args:
        number: How many of each kind.
        seed: Of the random numbers.
    """
    rng = random.Random(seed)
    found = {}
    with Monty(max_processes=1) as workers, workers.checkout(limits={"max_feed_duration_secs": _SECONDS}) as session:
        for kind, draw in KINDS.items():
            floats = [draw(rng) for _ in range(number)]
            texts = session.feed_run("[repr(x) for x in floats]", inputs={"floats": floats})
            others = [text for x, text in zip(floats, texts, strict=True) if text != repr(x)]
            noticed = [text for text in texts if _is_noticed(text)]
            assert set(noticed) <= set(others), "a text that is CPython's was taken for another"
            found[kind] = len(others), len(noticed)
    return found


def _is_noticed(text: str) -> bool:
    try:
        check_floats(text)
    except OtherText:
        return True
    return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.float_texts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("count", nargs="?", type=at_least_one, default=25_000, help="of each kind (default: 25,000)")
    number = parser.parse_args().count
    print(f"| of {number:,} floats | have another text | are noticed |\n| --- | --: | --: |")
    for kind, (others, noticed) in count(number).items():
        print(f"| {kind} | {others / number:.2%} | {noticed} of {others} |")


if __name__ == "__main__":
    main()
