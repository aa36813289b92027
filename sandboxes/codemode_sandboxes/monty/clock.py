"""The program's clock: it stands still while the program runs, and goes on as far as the host says."""

import datetime
from typing import Any

__all__ = ["CLOCK_CALLS", "Clock"]

CLOCK_CALLS = frozenset({"time.time", "datetime.now", "date.today"})
"""Monty's names for the ways to read a clock; `time.time` stands for all of `time`, with the function as argument."""

_SINCE_START = frozenset({"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"})


class Clock:
    """A virtual clock with timers.

    Args:
        now: What it shows at the start, in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._elapsed = 0.0
        self._timers: dict[int, float] = {}

    def advance(self, elapsed: float | None) -> None:
        """Set the seconds since the start. A clock never goes back."""
        if elapsed is not None:
            self._elapsed = max(self._elapsed, elapsed)

    def start_timer(self, timer: int, seconds: float) -> None:
        """Start a timer, known by a number, unless it runs already."""
        self._timers.setdefault(timer, self._elapsed + max(seconds, 0.0))

    def pop(self, timer: int) -> bool:
        """Tell whether a timer is due, and forget it if so."""
        if self._timers[timer] > self._elapsed:
            return False
        del self._timers[timer]
        return True

    def pop_due(self) -> list[int]:
        """Give the timers that are due, earliest first, and forget them."""
        due = sorted((when, timer) for timer, when in self._timers.items() if when <= self._elapsed)
        for _, timer in due:
            del self._timers[timer]
        return [timer for _, timer in due]

    def wake_after(self) -> float | None:
        """Give the seconds until the next timer; None without one."""
        return max(min(self._timers.values()) - self._elapsed, 0.0) if self._timers else None

    def read(self, function: str, args: tuple[Any, ...]) -> object:
        """Answer one of `CLOCK_CALLS`.

        Raises:
            OverflowError, ValueError: The time is beyond what a `datetime` can hold.
        """
        if function == "time.time":
            return self._elapsed if args and args[0] in _SINCE_START else self._now + self._elapsed
        zone = args[0] if args and isinstance(args[0], datetime.tzinfo) else None
        moment = datetime.datetime.fromtimestamp(self._now + self._elapsed, zone or datetime.UTC)
        if function == "date.today":
            return moment.date()
        return moment if zone else moment.replace(tzinfo=None)
