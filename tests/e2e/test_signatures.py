"""Functions of every kind of signature are called as their cards show, in every sandbox."""

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from codemode_graph import CodeMode, ToolSpec, codemode
from codemode_graph.tools.cards import render_card
from codemode_graph.tools.load import load_tools
from tests.sandboxes.processes import every_sandbox, make


def total(*args: float) -> float:
    """Add numbers.

    Args:
        *args: The numbers, in euros.
    """
    return sum(args)


def mixed(a: int, b: int = 2, *rest: str, c: int, d: int = 4, **more: int) -> list[Any]:
    return [a, b, list(rest), c, d, more]


def own(self: int, args: int = 1, kwargs: int = 2, tool: str = "t", name: str = "n", config: int = 3) -> list[Any]:
    return [self, args, kwargs, tool, name, config]


def by_place(a: int, b: int = 5, /, c: int = 6) -> list[int]:
    return [a, b, c]


def loose(*args, **kwargs):  # type: ignore[no-untyped-def]
    return [list(args), kwargs]


def soft(match: int, type: str = "x", _: int = 0, print: int = 3, list: int = 4, tools: int = 5) -> Any:
    return [match, type, _, print, list, tools]


def rows(*rows: dict[str, int]) -> Any:
    return rows


class Adder:
    def __call__(self, *numbers: int) -> int:
        return sum(numbers)


async def echo(arguments: dict[str, Any], config: Any) -> Any:
    return arguments


REMOTE = ToolSpec(
    name="remote",
    call=echo,
    input_schema={
        "type": "object",
        "properties": {"from": {"type": "string"}, "If-Match": {"type": "string"}, "self": {}, "class": {}},
        "required": ["from", "hidden"],
        "additionalProperties": False,
    },
)
TOOLS = [
    *(total, mixed, own, by_place, loose, soft, rows, REMOTE),
    *load_tools({"adder": Adder(), "part": functools.partial(total, 10)}),
]
CALLS: list[tuple[str, Any]] = [
    ("total(3, 1, 2)", 6),
    ("total(*[1, 2])", 3),
    ("total(*[1, 2], 4)", 7),
    ("total(5)", 5),
    ("total()", 0),
    ("total(args=[1, 2])", 3),
    ("mixed(1, c=3)", [1, 2, [], 3, 4, {}]),
    ("mixed(1, 7, 'x', 'y', c=3, e=9)", [1, 7, ["x", "y"], 3, 4, {"e": 9}]),
    ("mixed(a=1, c=3, rest=['q'])", [1, 2, ["q"], 3, 4, {}]),
    ("own(self=4)", [4, 1, 2, "t", "n", 3]),
    ("own(4, args=5, kwargs=6, tool='a', name='b', config=1)", [4, 5, 6, "a", "b", 1]),
    ("own(**{'self': 1, 'name': 'z'})", [1, 1, 2, "t", "z", 3]),
    ("by_place(1)", [1, 5, 6]),
    ("by_place(1, c=2)", [1, 5, 2]),
    ("by_place(a=1, c=2)", [1, 5, 2]),
    ("loose(1, 'a', k=2, kwargs=3, self=4)", [[1, "a"], {"k": 2, "kwargs": 3, "self": 4}]),
    ("loose('abc')", [["abc"], {}]),
    ("loose([1, 2])", [[[1, 2]], {}]),
    ("loose({'a': 1})", [[{"a": 1}], {}]),
    ("soft(match=1, type='y', _=3, print=4, list=5, tools=6)", [1, "y", 3, 4, 5, 6]),
    ("rows({'a': 1})", [{"a": 1}]),
    ("rows({'a': 1}, {'b': 2})", [{"a": 1}, {"b": 2}]),
    ("remote(from_='x', hidden=2)", {"from": "x", "hidden": 2}),
    (
        "remote('x', 5, If_Match='m', self=1, class_=2)",
        {"from": "x", "hidden": 5, "If-Match": "m", "self": 1, "class": 2},
    ),
    ("remote(**{'from': 'x', 'hidden': 2, 'class': 3})", {"from": "x", "hidden": 2, "class": 3}),
    ("adder(1, 2)", 3),
    ("part(1, 2)", 13),
]


@pytest.fixture(params=every_sandbox())
async def cm(request: pytest.FixtureRequest) -> AsyncIterator[CodeMode]:
    async with codemode(tools=TOOLS, sandbox=make(request.param)) as cm:
        yield cm


async def test_each_call_arrives_as_it_is_written(cm: CodeMode) -> None:
    program = "[" + ",\n".join(f"await tools.{call}" for call, _ in CALLS) + "]"
    result = await cm.run_code(program)
    assert result["error"] is None
    for (call, expected), output in zip(CALLS, result["output"], strict=True):
        assert output == expected, call


@pytest.mark.parametrize(
    ("tool", "card"),
    [
        (total, "await tools['total'](*args: float) -> float"),
        (mixed, "await tools['mixed'](a: int, b: int = 2, *rest: str, c: int, d: int = 4, **others: int) -> list[Any]"),
        (loose, "await tools['loose'](*args: Any, **others: Any)"),
        (REMOTE, "await tools['remote'](from_: str, hidden: Any, If_Match?: str, self?: Any, class_?: Any)"),
    ],
)
def test_a_card_shows_the_call(tool: Any, card: str) -> None:
    assert render_card(load_tools([tool])[0]).splitlines()[0] == card


async def test_equal_calls_have_one_key_however_they_are_written() -> None:
    async with codemode(tools=TOOLS) as cm:
        result = await cm.run_code(
            "await tools.total(3, 1)\nawait tools.total(args=[3, 1])\nawait tools.total(3.0, 1)\n"
            "await tools.total()\nawait tools.total(args=[])"
        )
    keys = [call["key"].partition(":")[2] for call in result["tool_calls"]]
    assert keys == [keys[0]] * 3 + [keys[3]] * 2
    assert result["tool_calls"][0]["arguments"] == {"args": [3, 1]}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("total('x')", "the argument 'args' of tools['total'] is 'x', but must be a number"),
        ("total([1, 2])", "but must be a number: pass each value by itself, as in f(*values)"),
        ("total(1, args=[3])", "'args' twice"),
        ("total(1, x=3)", "has no argument 'x'; its arguments are *args"),
        ("mixed(1, 2, 'x')", "lacks the argument 'c'"),
        ("by_place(1, 2, 3, 4)", "takes 3 positional arguments, not 4"),
        ("remote('x')", "lacks the argument 'hidden'"),
    ],
)
async def test_a_wrong_call_is_found_before_it_is_made(call: str, words: str) -> None:
    async with codemode(tools=TOOLS) as cm:
        result = await cm.run_code(f"await tools.{call}")
        assert words in str(result["error"])
        assert result["tool_calls"] == []
