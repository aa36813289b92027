"""Statistics of samples, and tables in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

__all__ = ["Figure", "duration", "figure", "ratio", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The statistics of one measurement, in seconds.

    Attributes:
        median: The median of all samples.
        low: The first quartile.
        high: The third quartile.
        best: The shortest sample, which other work on the machine disturbs least.
        samples: The number of samples.
        sessions: The median of each session, which has processes of its own.
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
        """Return the figure as JSON values."""
        return asdict(self)


def figure(sessions: Sequence[Sequence[float]], *, best: float | None = None) -> Figure:
    """Return the statistics of samples, in seconds.

    Args:
        sessions: The samples, by session.
        best: The shortest sample, where it is not that of `sessions`: the least of noisy differences means nothing.
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
    """Return a duration as text, with three significant digits. A difference of noisy durations may be negative."""
    if seconds < 0:
        return f"−{duration(-seconds)}"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e9)} ns"


def ratio(one: Figure, other: Figure) -> str:
    """Return how many times as long one takes as the other: by the medians, and by the shortest samples."""
    return f"{_digits(one.median / other.median)}× ({_digits(one.best / other.best)}×)"


def _range(low: float, high: float) -> str:
    """Return two durations as text, with one unit where both have the same."""
    first, last = duration(low), duration(high)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') else first}–{last}"


def _digits(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 1 or number == 0 else f"{number:.2g}"


def table(
    corner: str,
    rows: Iterable[str],
    columns: Mapping[str, str],
    cell: Callable[[str, str], str],
) -> str:
    """Return a table in Markdown.

    Args:
        corner: The heading of the first column.
        rows: The names of the rows.
        columns: The headings of the other columns, by name.
        cell: Returns the text for a row and a column, by their names.
    """
    lines = [[corner, *columns.values()], ["---", *("---:" for _ in columns)]]
    lines += [[row, *(cell(row, column) for column in columns)] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
