"""Names that modules of the standard library have, and the same modules in Monty may lack."""

import ast
import importlib
import inspect
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.change import Find
from codemode_sandboxes.source.tree import Tree

__all__ = ["candidate_names", "library_gaps"]

_PLAIN = "do without it, or write it out in plain Python"
_GATHER = "collect the coroutines in a list and `await asyncio.gather(*coroutines)`"


class _Group(NamedTuple):
    """Names with one substitute; those of them that are missing are one gap."""

    name: str
    substitute: str
    names: frozenset[str]


def _group(name: str, names: str, substitute: str) -> _Group:
    """Return a group; its name begins with the module of its names."""
    module = name.replace(".", " ").split()[0]
    return _Group(name, substitute, frozenset(f"{module}.{item}" for item in names.split()))


_GROUPS = (
    _group("asyncio tasks", "create_task ensure_future Task TaskGroup Future current_task all_tasks shield", _GATHER),
    _group(
        "asyncio locks and semaphores",
        "Semaphore BoundedSemaphore Lock Event Condition Barrier",
        "leave them out: the host spreads the calls, and no two lines of a program run at the same time",
    ),
    _group(
        "asyncio timeouts and waiting",
        "wait_for timeout timeout_at wait as_completed FIRST_COMPLETED FIRST_EXCEPTION ALL_COMPLETED",
        "await the calls themselves, or `asyncio.gather` them",
    ),
    _group("asyncio queues", "Queue LifoQueue PriorityQueue QueueEmpty QueueFull", "use a list"),
    _group(
        "asyncio loops and threads",
        "get_event_loop get_running_loop new_event_loop set_event_loop run_coroutine_threadsafe to_thread Runner",
        "await the coroutine, or `asyncio.gather` several",
    ),
    _group(
        "asyncio exceptions",
        "TimeoutError CancelledError InvalidStateError",
        "use the built-in TimeoutError, or `except Exception`",
    ),
    _group("dataclasses.asdict", "asdict astuple", "write the dict out, or return the instance: it becomes a dict"),
    _group("dataclasses.replace", "replace fields make_dataclass", "make a new instance"),
    _group("functools.wraps", "wraps update_wrapper", "leave `@functools.wraps` out"),
    _group("functools.cmp_to_key", "cmp_to_key total_ordering", "sort with a key function"),
    _group(
        "functools.cached_property",
        "cached_property singledispatch singledispatchmethod partialmethod",
        "write a plain function",
    ),
    _group("collections.OrderedDict", "OrderedDict", "use a dict: it keeps its order"),
    _group("collections.ChainMap", "ChainMap UserDict UserList UserString", "merge dicts: `{**a, **b}`"),
    _group("collections.abc", "abc", "test with list, dict, set; annotate with `typing`'s names"),
    _group("re.VERBOSE", "VERBOSE X", "write the pattern without white space and comments"),
    _group("re.subn", "subn", "use `re.sub`, and count with `len(re.findall(...))`"),
    _group("json encoder classes", "JSONEncoder JSONDecoder", "use `json.dumps` and `json.loads`"),
    _group(
        "datetime.fromtimestamp",
        "datetime.fromtimestamp datetime.utcfromtimestamp date.fromtimestamp",
        "use `datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=t)`",
    ),
    _group("datetime.utcnow", "datetime.utcnow datetime.today", "use `datetime.now(timezone.utc)` or `datetime.now()`"),
    _group("datetime.UTC", "UTC", "use `timezone.utc`"),
    _group(
        "datetime calendars",
        "tzinfo MINYEAR MAXYEAR datetime.fromordinal date.fromordinal datetime.fromisocalendar date.fromisocalendar",
        "compute with `date`, `datetime` and `timedelta`",
    ),
    _group("typing.TypedDict", "TypedDict NamedTuple", "use a plain dict, a dataclass or `collections.namedtuple`"),
    _group("sys.exit", "exit", "let the program end, or raise an exception"),
    _group("pathlib.PurePath", "PurePath PurePosixPath", "use `pathlib.Path`"),
)
_GROUPED = frozenset().union(*(group.names for group in _GROUPS))


def candidate_names(modules: Collection[str]) -> list[str]:
    """Return the dotted names that a program may expect in these modules: this Python's, and those of the groups."""
    names = {name for name in _GROUPED if name.partition(".")[0] in modules}
    for module in sorted(sys.stdlib_module_names.intersection(modules) - {"__future__"}):
        own = importlib.import_module(module)
        public = [name for name in getattr(own, "__all__", None) or dir(own) if not name.startswith("_")]
        names.update(f"{module}.{name}" for name in public if not inspect.ismodule(getattr(own, name, None)))
    return sorted(names)


def library_gaps(missing: Collection[str]) -> Iterator[Gap]:
    """Yield the gaps of missing dotted names, such as "asyncio.create_task"."""
    for group in _GROUPS:
        if lost := group.names.intersection(missing):
            yield Gap(group.name, group.substitute, _references(lost))
    if rest := frozenset(missing) - _GROUPED:
        yield Gap("rare standard library names", _PLAIN, _references(rest))


def _references(names: Collection[str]) -> Find:
    def find(tree: Tree) -> Iterator[ast.AST]:
        for name, node in tree.references:
            # The name, or what it is an attribute of, may be missing: `asyncio.TaskGroup` in `asyncio.TaskGroup.create_task`.
            parts = name.split(".")
            if any(".".join(parts[:count]) in names for count in range(2, len(parts) + 1)):
                yield node

    return find
