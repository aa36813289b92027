"""Where calls lie in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Bar", "Gap", "Timeline", "timeline"]

_GAP_WIDTH = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A span of time: where it begins and how long it is, in hundredths of the whole."""

    start: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A long time in which nothing happened, drawn short: where it is, and how many seconds it was."""

    start: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Bars, one a span and in the same order, the gaps between them, and the seconds from the first to the last moment."""

    bars: tuple[Bar, ...]
    gaps: tuple[Gap, ...]
    seconds: float


def timeline(spans: Sequence[tuple[float, float]]) -> Timeline:
    """Lay spans of time side by side.

    Args:
        spans: When each began, in seconds since any moment, and how many seconds it took.

    Returns:
        The bars. Where nothing happened for longer than all that did happen took, such as while a person was asked, the
        scale is broken.
    """
    busy = _merged([(start, start + max(seconds, 0.0)) for start, seconds in spans])
    total = sum(end - start for start, end in busy)
    holes = [(before[1], after[0]) for before, after in pairwise(busy)]
    broken = [(start, end) for start, end in holes if end - start > max(1.0, total)]
    drawn = (busy[-1][1] - busy[0][0] if busy else 0.0) - sum(end - start for start, end in broken)
    width = _GAP_WIDTH if len(broken) < 6 else 50 / len(broken)
    scale = (100 - width * len(broken)) / drawn if drawn > 0 else 0.0

    def place(moment: float) -> float:
        at, passed = 0.0, busy[0][0]
        for start, end in broken:
            if moment <= start:
                break
            at += (start - passed) * scale + width
            passed = end
        return at + (moment - passed) * scale

    bars = tuple(Bar(start=place(s), width=place(s + max(t, 0.0)) - place(s)) for s, t in spans)
    gaps = tuple(Gap(start=place(start), width=width, seconds=end - start) for start, end in broken)
    return Timeline(bars=bars, gaps=gaps, seconds=busy[-1][1] - busy[0][0] if busy else 0.0)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
