"""Statistics of a benchmark's samples, and its tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

__all__ = ["Figure", "duration", "figure", "ratio", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured of one thing, in seconds.

    Attributes:
        median: Of all samples.
        low: First quartile.
        high: Third quartile.
        best: The shortest: what is left where nothing else disturbs.
        samples: How many there are.
        sessions: The median of each session: each has processes of its own.
    """

    median: float
    low: float
    high: float
    best: float
    samples: int
    sessions: list[float]

    def __str__(self) -> str:
        return f"{duration(self.median)} ({_range(self.low, self.high)})"

    def to_json(self) -> dict[str, Any]:
        """The figure as JSON values."""
        return asdict(self)


def figure(sessions: Sequence[Sequence[float]], *, best: float | None = None) -> Figure:
    """Sum up samples, in seconds.

    Args:
        sessions: The samples, by session.
        best: The shortest, where it is not that of the samples: the smallest of noisy differences says nothing.
    """
    samples = [sample for session in sessions for sample in session]
    low, middle, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return Figure(
        median=middle,
        low=low,
        high=high,
        best=min(samples) if best is None else best,
        samples=len(samples),
        sessions=[median(session) for session in sessions],
    )


def duration(seconds: float) -> str:
    """Three significant digits and a unit. A difference of two noisy durations may be negative."""
    if seconds < 0:
        return f"−{duration(-seconds)}"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e9)} ns"


def ratio(one: Figure, other: Figure) -> str:
    """How many times as long one takes as the other: by the medians, and by the shortest."""
    return f"{_digits(one.median / other.median)}× ({_digits(one.best / other.best)}×)"


def _range(low: float, high: float) -> str:
    """Two durations, the unit named once where it is the same."""
    first, last = duration(low), duration(high)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') else first}–{last}"


def _digits(number: float) -> str:
    """Three significant digits."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 1 or number == 0 else f"{number:.2g}"


def table(
    corner: str,
    rows: Iterable[str],
    columns: Mapping[str, str],
    cell: Callable[[str, str], str],
) -> str:
    """A Markdown table.

    Args:
        corner: Heading of the first column.
        rows: Names of the rows.
        columns: Headings of the others, by name.
        cell: The text for a row and a column, by their names.
    """
    lines = [[corner, *columns.values()], ["---", *("---:" for _ in columns)]]
    lines += [[row, *(cell(row, column) for column in columns)] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
