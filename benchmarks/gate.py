"""Compares two result files of one benchmark: `python -m benchmarks gate OLD NEW` says what got worse beyond noise.

A figure is worse where its quartiles, the medians of its sessions and its best sample all are, by more than a twentieth. A
number without samples is worse by more than a quarter. Where the files have systems that are not ours, the machine is taken
to be as much slower as those are.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Change", "compare", "main"]

FIGURE = {"median", "low", "high", "best", "sessions"}
NOISE, LONE_NOISE = 1.05, 1.25
CONTROLS = ("direct", "fastmcp", "smolagents", "smolagents agent", "plain-pyodide", "llm-sandbox")
"""Systems whose code does not change with ours: a machine that is busier shows in their figures."""
SMALLER = ("second", "processor", "clock", "bytes", "memory", "tokens", "start")
LARGER = ("per second", "solved")
"""Words in the names of numbers of which less, or more, is better. Others are settings and counts."""

Figure = Mapping[str, Any] | float


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in two files.

    Attributes:
        name: Where it stands.
        ratio: The new one, as a multiple of the old one, and of the machine's own change; above 1 is worse.
        worse: True where that is beyond noise.
        better: True where the opposite is.
    """

    name: str
    ratio: float
    worse: bool
    better: bool


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[Change], float, list[str]]:
    """Compare two results.

    Returns:
        The changes of our own figures; how many times as slow the machine was; and the figures that the new file lacks.
    """
    before, after = dict(_figures(old)), dict(_figures(new))
    common = [path for path in before if path in after]
    controls = [path for path in common if set(path) & set(CONTROLS)]
    drifts = [_ratio(before[path], after[path], path) for path in controls]
    drift = median(drifts) if drifts else 1.0
    changes = [_change(path, before[path], after[path], drift) for path in common if path not in set(controls)]
    return changes, drift, [" / ".join(path) for path in before if path not in after]


def _figures(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Figure]]:
    """Yield the figures in a result, and its numbers that have a better and a worse, each with its place."""
    if isinstance(value, Mapping):
        if value.keys() >= FIGURE:
            yield path, value
            return
        for name, item in value.items():
            if path or name not in ("machine", "settings", "packages", "load after"):
                yield from _figures(item, (*path, str(name)))
    elif isinstance(value, int | float) and not isinstance(value, bool) and _better(path) and value > 0:
        yield path, float(value)


def _better(path: tuple[str, ...]) -> str:
    """Return "more" or "less", whichever is better of a number; empty where neither is."""
    for name in reversed(path):
        if any(word in name for word in LARGER):
            return "more"
        if any(word in name for word in SMALLER):
            return "less"
    return ""


def _ratio(old: Figure, new: Figure, path: tuple[str, ...]) -> float:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return float(new["median"] / old["median"]) if old["median"] > 0 else math.nan
    assert isinstance(old, float)
    assert isinstance(new, float)
    return old / new if _better(path) == "more" else new / old


def _change(path: tuple[str, ...], old: Figure, new: Figure, drift: float) -> Change:
    ratio = _ratio(old, new, path) / drift
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        worse, better = _is_beyond(old, new, drift), _is_beyond(new, old, 1 / drift)
    else:
        worse, better = ratio > LONE_NOISE, ratio < 1 / LONE_NOISE
    return Change(" / ".join(path), ratio, worse, better)


def _is_beyond(less: Mapping[str, Any], more: Mapping[str, Any], drift: float) -> bool:
    """Tell whether one figure is larger than another by more than their samples scatter."""
    factor = drift * NOISE
    return bool(
        more["low"] > less["high"] * drift
        and min(more["sessions"]) > max(less["sessions"]) * drift
        and more["median"] > less["median"] * factor
        and more["best"] > less["best"] * factor
    )


def main(arguments: list[str] | None = None) -> int:
    """Print what got worse and what got better, and return 1 where anything got worse, or is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (options.old, options.new))
    changes, drift, missing = compare(old, new)
    if not changes:
        print("the two files have no figure in common: are they of one benchmark?")
        return 2
    if differing := [
        name
        for name in ("cpu", "cores", "python")
        if old.get("machine", {}).get(name) != new.get("machine", {}).get(name)
    ]:
        print(f"The machines differ in {', '.join(differing)}: only what is compared with other systems counts.")
    print(f"The other systems' figures are {drift:.2f} times what they were; ours are compared beyond that.")
    for title, chosen in (("Worse", [c for c in changes if c.worse]), ("Better", [c for c in changes if c.better])):
        print(f"\n{title}: {len(chosen)} of {len(changes)}")
        for change in sorted(chosen, key=lambda change: change.ratio, reverse=title == "Worse"):
            print(f"  {change.ratio:5.2f}×  {change.name}")
    for name in missing:
        print(f"missing: {name}")
    return 1 if missing or any(change.worse for change in changes) else 0


if __name__ == "__main__":
    sys.exit(main())
