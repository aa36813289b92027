"""The shapes of what calls of Python's functions and methods return, and of what some of them pass to a function in turn."""

import ast
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeAlias

from codemode_sandboxes.source import Tree

from codemode_graph.check.value_shapes import (
    NOTHING,
    NUMBER,
    TEXT,
    TRUTH,
    Later,
    each_of,
    is_number,
    is_text,
    join,
    members,
    merge,
    own_record,
)
from codemode_graph.tools.annotations import NULL, UNKNOWN, Array, Map, Record, Scalar, Shape, Tuple
from codemode_graph.tools.text import vocabulary


class Shapes(Protocol):
    """What tells the shapes of a program's expressions: see `flow.Flow`."""

    tree: Tree

    def of(self, node: ast.expr | None) -> Shape:
        """Return the shape of an expression."""
        ...

    def key(self, node: ast.expr) -> Shape:
        """Return the shape of a key."""
        ...

    def items(self, shape: Shape) -> Shape:
        """Return the shape of what a loop goes over."""
        ...

    def values(self, shape: Shape) -> Shape:
        """Return the shape of a dict's values."""
        ...

    def lookup(self, shape: Shape, key: Shape, default: Shape | None = None) -> Shape:
        """Return the shape of what is found under a key."""
        ...

    def bound(self, binding: ast.AST) -> Shape:
        """Return the shape of what a binding gives to a name, or stores in a place."""
        ...

    def solve(self, key: Hashable, compute: Callable[[], Shape]) -> Shape:
        """Return the shape of something that may depend on itself."""
        ...

    def result(self, function: ast.expr, passed: Sequence[Shape] = ()) -> Shape:
        """Return the shape of what a function returns."""
        ...


_Function: TypeAlias = Callable[[Shapes, ast.Call, Sequence[Shape]], Shape]
_Method: TypeAlias = Callable[[Shapes, Shape, Sequence[Shape], ast.Call], Shape]

DATE, DATETIME = Scalar("date"), Scalar("datetime")
_EMPTY = Map(NOTHING, NOTHING)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def _constant(shape: Shape) -> _Function:
    return lambda shapes, call, passed: shape


def _number(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return NUMBER if passed and all(map(is_number, members(passed[0]))) else UNKNOWN  # or a timedelta, a Decimal


def _list(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(shapes.items(passed[0]) if passed else NOTHING)


def _dict(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    def of(member: Shape) -> Shape:
        match member:
            case Record() | Map():
                return member
            case Array(Tuple((key, value))):
                return Map(value, key)
        return UNKNOWN

    shape = each_of(passed[0], of) if passed else _EMPTY
    for each in call.keywords:
        value = shapes.of(each.value)
        shape = merge(shape, own_record({each.arg: value}) if each.arg else value)
    return shape


def _best(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    found = [shapes.items(passed[0])] if len(passed) == 1 else list(passed)
    default = _keyword(call, "default")
    return join([*found, *([] if default is None else [shapes.of(default)])])


def _next(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return join([shapes.items(each) if number == 0 else each for number, each in enumerate(passed)])


def _map(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(shapes.result(call.args[0], [shapes.items(each) for each in passed[1:]])) if call.args else UNKNOWN


def _filter(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(shapes.items(passed[1])) if len(passed) == 2 else UNKNOWN


def _sum(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return NUMBER if passed and all(map(is_number, members(shapes.items(passed[0])))) else UNKNOWN


def _zip(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(Tuple(tuple(map(shapes.items, passed))))


def _enumerate(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(Tuple((NUMBER, shapes.items(passed[0])))) if passed else UNKNOWN


def _same(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return passed[0] if passed else UNKNOWN


def _default_dict(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Map(shapes.result(call.args[0]), NOTHING) if len(call.args) == 1 else UNKNOWN


def _counter(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Map(NUMBER, shapes.items(passed[0]) if passed else NOTHING)


def _groups(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    key = _keyword(call, "key") or (call.args[1] if len(call.args) > 1 else None)
    if not passed:
        return UNKNOWN
    item = shapes.items(passed[0])
    return Array(Tuple((item if key is None else shapes.result(key, [item]), Array(item))))


def _chain(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(join(map(shapes.items, passed)))


def _chain_all(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(shapes.items(shapes.items(passed[0]))) if passed else UNKNOWN


def _largest(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    return Array(shapes.items(passed[1])) if len(passed) > 1 else UNKNOWN


def _awaited(shape: Shape) -> Shape:
    return shape.value if isinstance(shape, Later) else UNKNOWN


def _gather(shapes: Shapes, call: ast.Call, passed: Sequence[Shape]) -> Shape:
    if call.keywords:
        return UNKNOWN  # with return_exceptions=True there are exceptions in it
    if not any(isinstance(each, ast.Starred) for each in call.args):
        return Later(value=Tuple(tuple(map(_awaited, passed))))
    found = [
        shapes.items(shapes.of(each.value)) if isinstance(each, ast.Starred) else shapes.of(each) for each in call.args
    ]
    return Later(value=Array(join(map(_awaited, found))))


FUNCTIONS: Mapping[str, _Function] = {
    **dict.fromkeys(vocabulary("len int float ord hash id"), _constant(NUMBER)),
    **dict.fromkeys(("abs", "round"), _number),
    **dict.fromkeys(vocabulary("str repr format chr ascii hex bin oct input"), _constant(TEXT)),
    **dict.fromkeys(vocabulary("bool any all isinstance issubclass callable hasattr"), _constant(TRUTH)),
    **dict.fromkeys(vocabulary("list tuple set frozenset sorted reversed iter"), _list),
    **dict.fromkeys(("max", "min"), _best),
    **{"print": _constant(NULL), "range": _constant(Array(NUMBER)), "dict": _dict, "sum": _sum},
    **{"next": _next, "map": _map, "filter": _filter, "zip": _zip, "enumerate": _enumerate},
}
"""The functions that need no import, each with what tells the shape of its result from those of its arguments."""

MODULE_FUNCTIONS: Mapping[str, _Function] = {
    "json.dumps": _constant(TEXT),
    **dict.fromkeys(
        (f"math.{name}" for name in vocabulary("ceil floor sqrt prod fsum log exp pow trunc")), _constant(NUMBER)
    ),
    **dict.fromkeys(
        (f"statistics.{name}" for name in vocabulary("mean fmean stdev pstdev variance")), _constant(NUMBER)
    ),
    **{"collections.defaultdict": _default_dict, "collections.Counter": _counter, "collections.OrderedDict": _dict},
    **{"collections.deque": _list, "itertools.groupby": _groups, "itertools.chain": _chain, "itertools.islice": _list},
    **{"itertools.chain.from_iterable": _chain_all, "itertools.zip_longest": _constant(UNKNOWN)},
    **dict.fromkeys(("heapq.nlargest", "heapq.nsmallest"), _largest),
    **dict.fromkeys(("copy.copy", "copy.deepcopy"), _same),
    **dict.fromkeys(("asyncio.create_task", "asyncio.ensure_future", "asyncio.wait_for", "asyncio.shield"), _same),
    **{"asyncio.gather": _gather, "asyncio.as_completed": _list},
    **{"asyncio.run": lambda shapes, call, passed: _awaited(passed[0]) if passed else UNKNOWN},
    **dict.fromkeys(("datetime.date", "datetime.date.today", "datetime.date.fromisoformat"), _constant(DATE)),
    **dict.fromkeys(
        [f"datetime.datetime{name}" for name in ("", ".now", ".today", ".utcnow", ".fromisoformat", ".strptime")],
        _constant(DATETIME),
    ),
}
"""Those of modules, by their dotted names."""


def _get(shapes: Shapes, receiver: Shape, passed: Sequence[Shape], call: ast.Call) -> Shape:
    if not passed:
        return UNKNOWN
    return shapes.lookup(receiver, shapes.key(call.args[0]), shapes.key(call.args[1]) if len(passed) > 1 else NULL)


def _pop(shapes: Shapes, receiver: Shape, passed: Sequence[Shape], call: ast.Call) -> Shape:
    def of(member: Shape) -> Shape:
        if isinstance(member, Array):
            return shapes.items(member)
        if not passed:
            return UNKNOWN
        return shapes.lookup(member, shapes.key(call.args[0]), passed[1] if len(passed) > 1 else None)

    return each_of(receiver, of)


def _set_default(shapes: Shapes, receiver: Shape, passed: Sequence[Shape], call: ast.Call) -> Shape:
    if not passed:
        return UNKNOWN
    return join([shapes.lookup(receiver, shapes.key(call.args[0]), NOTHING), passed[1] if len(passed) > 1 else NULL])


def _pairs(shapes: Shapes, receiver: Shape, passed: Sequence[Shape], call: ast.Call) -> Shape:
    return _of_dict(receiver, lambda each: Array(Tuple((shapes.items(each), shapes.values(each)))))


def _of_dict(receiver: Shape, part: Callable[[Shape], Shape]) -> Shape:
    return each_of(receiver, lambda each: part(each) if isinstance(each, Record | Map) else NOTHING)


def _of_text(shape: Shape) -> _Method:
    def method(shapes: Shapes, receiver: Shape, passed: Sequence[Shape], call: ast.Call) -> Shape:
        texts = all(is_text(each) for each in members(receiver) if each != NULL)
        return shape if texts else UNKNOWN

    return method


def _of_any(shape: Shape) -> _Method:
    return lambda shapes, receiver, passed, call: shape


METHODS: Mapping[str, _Method] = {
    **{"get": _get, "pop": _pop, "setdefault": _set_default, "items": _pairs},
    "keys": lambda shapes, receiver, passed, call: _of_dict(receiver, lambda each: Array(shapes.items(each))),
    "values": lambda shapes, receiver, passed, call: _of_dict(receiver, lambda each: Array(shapes.values(each))),
    "popleft": lambda shapes, receiver, passed, call: shapes.items(receiver),
    "copy": lambda shapes, receiver, passed, call: receiver,
    "most_common": lambda shapes, receiver, passed, call: Array(Tuple((shapes.items(receiver), NUMBER))),
    "elements": lambda shapes, receiver, passed, call: Array(shapes.items(receiver)),
    "result": lambda shapes, receiver, passed, call: _awaited(receiver),
    "create_task": lambda shapes, receiver, passed, call: passed[0] if passed else UNKNOWN,
    **dict.fromkeys(
        vocabulary(
            "upper lower title strip lstrip rstrip capitalize replace casefold swapcase zfill removeprefix removesuffix"
        ),
        _of_text(TEXT),
    ),
    **dict.fromkeys(vocabulary("split rsplit splitlines"), _of_text(Array(TEXT))),
    **dict.fromkeys(vocabulary("startswith endswith isdigit isalpha isupper islower"), _of_text(TRUTH)),
    **dict.fromkeys(("strftime", "isoformat", "join"), _of_any(TEXT)),
}
"""Methods, each with what tells the shape of its result from those of its receiver and arguments."""


def applied_to(shapes: Shapes, call: ast.Call, function: ast.expr) -> list[Shape] | None:
    """Return what a call passes to a function that it is given; None where that is not known.

    Args:
        shapes: Tells the shapes of expressions.
        call: The call.
        function: One of its arguments.
    """
    name = shapes.tree.dotted(call.func)
    if isinstance(call.func, ast.Name) and shapes.tree.are_builtin(call.func.id):
        name = call.func.id
    elif isinstance(call.func, ast.Attribute) and call.func.attr == "sort" and _keyword(call, "key") is function:
        return [shapes.items(shapes.of(call.func.value))]
    place = call.args.index(function) if function in call.args else None
    others = [shapes.of(each) for each in call.args if each is not function and not isinstance(each, ast.Starred)]
    if len(others) + (place is not None) != len(call.args):
        return None
    match name, place, others:
        case ("map", 0, [_, *_]) | ("filter" | "itertools.takewhile" | "itertools.dropwhile", 0, [_]):
            return list(map(shapes.items, others))
        case ("sorted" | "max" | "min" | "itertools.groupby", None | 1, [first]):
            return [shapes.items(first)]
        case ("max" | "min", None, [_, _, *_]):
            return [join(others)]
        case ("heapq.nlargest" | "heapq.nsmallest", None, [_, rows]):
            return [shapes.items(rows)]
        case "functools.reduce", 0, [rows, *_]:
            return [UNKNOWN, shapes.items(rows)]
        case "collections.defaultdict", 0, []:
            return []
        case "asyncio.to_thread", 0, _:
            return others
    return None
