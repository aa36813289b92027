"""The layout of calls on a scale of time."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from codemode_graph.state import Attempt, ToolCall
from codemode_graph.trace.words import NEVER_STARTED, is_replayed

T = TypeVar("T")

_MAX_ALIKE = 5  # more calls that are alike become one row
_GAP_WIDTH = 8.0  # in hundredths of the scale; many gaps share half of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A span of time: its start and its length, in hundredths of the scale."""

    start: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A long time without any span, drawn short: its place on the scale, and its true seconds."""

    start: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The bars of spans in their order, the gaps between them, and the seconds from the first to the last moment."""

    bars: tuple[Bar, ...]
    gaps: tuple[Gap, ...]
    seconds: float


def timeline(spans: Sequence[tuple[float, float]]) -> Timeline:
    """Lay spans of time out on one scale.

    Args:
        spans: The start of each, in seconds since any moment, and its length in seconds.

    Returns:
        The layout. A pause that is longer than all spans together, such as one for a person's decision, becomes a gap:
        to scale, it would leave the bars too small to see.
    """
    busy = _merge([(start, start + max(seconds, 0.0)) for start, seconds in spans])
    total = sum(end - start for start, end in busy)
    holes = [(before[1], after[0]) for before, after in pairwise(busy)]
    broken = [(start, end) for start, end in holes if end - start > max(1.0, total)]
    whole = busy[-1][1] - busy[0][0] if busy else 0.0
    drawn = whole - sum(end - start for start, end in broken)
    # However many gaps there are, the bars keep half of the scale.
    width = _GAP_WIDTH if len(broken) < 6 else 50 / len(broken)
    scale = (100 - width * len(broken)) / drawn if drawn > 0 else 0.0

    def place(moment: float) -> float:
        # The time before a moment is to scale, except for the gaps in it, which have a fixed width.
        at, passed = 0.0, busy[0][0]
        for start, end in broken:
            if moment <= start:
                break
            at += (start - passed) * scale + width
            passed = end
        return at + (moment - passed) * scale

    bars = tuple(Bar(start=place(s), width=place(s + max(t, 0.0)) - place(s)) for s, t in spans)
    gaps = tuple(Gap(start=place(start), width=width, seconds=end - start) for start, end in broken)
    return Timeline(bars=bars, gaps=gaps, seconds=whole)


def call_timeline(calls: Sequence[ToolCall], attempt: Attempt) -> tuple[Timeline, list[Bar | None]]:
    """Lay the calls of an attempt out, and return a bar for each that ran a tool in it, else None."""
    ran = [not is_replayed(call, attempt) and call["status"] not in NEVER_STARTED for call in calls]
    layout = timeline([(call["started"], call["seconds"]) for call, real in zip(calls, ran, strict=True) if real])
    bars = iter(layout.bars)
    return layout, [next(bars) if real else None for real in ran]


def union(spans: Sequence[tuple[Bar | None, ToolCall]]) -> tuple[Bar | None, float]:
    """Return one bar over those of several calls, and its length in seconds; None and 0 where none of them has one."""
    ran = [(bar, call) for bar, call in spans if bar is not None]
    if not ran:
        return None, 0.0
    start = min(bar.start for bar, _ in ran)
    bar = Bar(start=start, width=max(bar.start + bar.width for bar, _ in ran) - start)
    end = max(call["started"] + call["seconds"] for _, call in ran)
    return bar, end - min(call["started"] for _, call in ran)


def group_alike(items: Sequence[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items in their order, each alone, but many with an equal key as one group, where the first of them stood."""
    kinds: dict[Hashable, list[tuple[int, T]]] = {}
    for place, item in enumerate(items):
        kinds.setdefault(key(item), []).append((place, item))
    groups: list[tuple[int, list[T]]] = []
    for alike in kinds.values():
        if len(alike) > _MAX_ALIKE:
            groups.append((alike[0][0], [item for _, item in alike]))
        else:
            groups += [(place, [item]) for place, item in alike]
    return [group for _, group in sorted(groups, key=lambda each: each[0])]


def most_important(calls: Sequence[ToolCall], limit: int) -> set[int]:
    """Return the places of at most `limit` calls: failures go before calls with an effect, and those before reads."""

    def rank(number: int) -> tuple[bool, bool]:
        return calls[number]["status"] not in ("failed", "unknown"), calls[number]["effect"] == "read"

    return set(sorted(range(len(calls)), key=rank)[:limit])


def _merge(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join spans that overlap, into spans in order."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
