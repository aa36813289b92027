"""The program's clock, which the host moves.

Every function that reads the time returns `Program.now` plus the elapsed seconds that the host last sent, and
`time.sleep` is a wait that the host sees. So a run can be replayed without sleeping, and takes the same path.

This is a module of its own because it has to be imported and installed before asyncio is.
"""

import datetime
import gc
import sys
import time
from collections.abc import Callable
from time import struct_time
from typing import Any

__all__ = ["Clock", "install", "real_monotonic"]

real_monotonic = time.monotonic
_localtime, _gmtime, _strftime, _asctime = time.localtime, time.gmtime, time.strftime, time.asctime
_replaced: list[Any] = []


class Clock:
    """The time at the program's start, in seconds since the epoch, and the seconds since then.

    Its methods stand in for the functions of `time`. They are bound methods, so that a class which keeps one as an
    attribute does not turn it into a method of its own.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.elapsed = 0.0
        self.wait: Callable[[float], None] | None = None

    def advance(self, elapsed: float | None) -> None:
        """Move to this many seconds after the start, but never back."""
        if elapsed is not None:
            self.elapsed = max(self.elapsed, elapsed)

    def time(self) -> float:
        """Stand in for `time.time`."""
        return self.now + self.elapsed

    def time_ns(self) -> int:
        """Stand in for `time.time_ns`."""
        return int(self.now * 1e9) + int(self.elapsed * 1e9)

    def monotonic(self) -> float:
        """Stand in for `time.monotonic`, `perf_counter`, `process_time` and `thread_time`."""
        return self.elapsed

    def monotonic_ns(self) -> int:
        """Stand in for `time.monotonic_ns` and its kin."""
        return int(self.elapsed * 1e9)

    def clock_gettime(self, clock: int, /) -> float:
        """Stand in for `time.clock_gettime`."""
        return self.time() if clock == 0 else self.elapsed

    def clock_gettime_ns(self, clock: int, /) -> int:
        """Stand in for `time.clock_gettime_ns`."""
        return self.time_ns() if clock == 0 else self.monotonic_ns()

    def localtime(self, seconds: float | None = None, /) -> struct_time:
        """Stand in for `time.localtime`."""
        return _localtime(self.time() if seconds is None else seconds)

    def gmtime(self, seconds: float | None = None, /) -> struct_time:
        """Stand in for `time.gmtime`."""
        return _gmtime(self.time() if seconds is None else seconds)

    def strftime(self, format: str, when: Any = None, /) -> str:
        """Stand in for `time.strftime`."""
        return _strftime(format, self.localtime() if when is None else when)

    def asctime(self, when: Any = None, /) -> str:
        """Stand in for `time.asctime`."""
        return _asctime(self.localtime() if when is None else when)

    def ctime(self, seconds: float | None = None, /) -> str:
        """Stand in for `time.ctime`."""
        return _asctime(self.localtime(seconds))

    def sleep(self, seconds: float, /) -> None:
        """Stand in for `time.sleep`: wait until the host has moved the clock."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        until = self.elapsed + seconds
        # The host may answer a call before the time has come; then the program waits for the rest.
        while self.wait is not None and until - self.elapsed > 1e-9:
            self.wait(until - self.elapsed)


def install(clock: Clock) -> None:
    """Make this the clock of the `time` and `datetime` modules.

    Call it before other modules are imported: some bind `time.monotonic` at import.

    Raises:
        RuntimeError: This interpreter's `datetime` does not take another clock.
    """
    functions: dict[str, Callable[..., Any]] = {
        name: getattr(clock, name)
        for name in (
            "time", "time_ns", "monotonic", "monotonic_ns", "clock_gettime", "clock_gettime_ns",
            "localtime", "gmtime", "strftime", "asctime", "ctime", "sleep",
        )
    }  # fmt: skip
    for name in ("perf_counter", "process_time", "thread_time"):
        functions |= {name: clock.monotonic, f"{name}_ns": clock.monotonic_ns}
    for name, function in functions.items():
        if hasattr(time, name):
            setattr(time, name, function)

    def now(cls: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return cls.fromtimestamp(clock.time(), tz)

    def utcnow(cls: type[datetime.datetime]) -> datetime.datetime:
        return cls.fromtimestamp(clock.time(), datetime.timezone.utc).replace(tzinfo=None)  # noqa: UP017 - Pyodide's own

    def today(cls: type[datetime.date]) -> datetime.date:
        return cls.fromtimestamp(clock.time())

    _set_class_method(datetime.datetime, "now", now)
    _set_class_method(datetime.datetime, "utcnow", utcnow)
    _set_class_method(datetime.date, "today", today)
    # The interpreter caches attributes of types, and does not notice that their dictionaries were changed.
    clear: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
    clear()
    # What was done to `datetime` is no documented way, so see that it works.
    clock.now, before = 86_400.5, clock.now
    moved = (datetime.datetime.now(datetime.UTC).timestamp(), datetime.datetime.today().timestamp())
    clock.now = before
    if moved != (86_400.5, 86_400.5):
        raise RuntimeError("this interpreter's datetime module does not take another clock")


def _set_class_method(kind: type, name: str, function: Callable[..., Any]) -> None:
    # A subclass in the type's place would show: in `repr`, in `type(x) is datetime`, in what `min` and `max` are. The
    # type itself refuses assignment, so its dictionary is changed. What was there stays alive, as caches hold it
    # without counting the reference.
    attributes = gc.get_referents(kind.__dict__)[0]
    _replaced.append(attributes[name])
    attributes[name] = classmethod(function)
