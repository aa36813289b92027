"""Keys that are looked up in results: of unions, by `get`, and those that the program stores itself."""

from collections.abc import AsyncIterator
from typing import Literal, NotRequired

import pytest
import pytest_asyncio
from typing_extensions import TypedDict

from benchmarks.fuzz_types import fuzz
from codemode_graph import CodeMode, codemode, tool


class Leaf(TypedDict):
    """A small result."""

    x: int
    name: NotRequired[str]


class Other(TypedDict):
    """Another one."""

    z: int


class Deep(TypedDict):
    """A result with parts."""

    leaf: Leaf
    many: list[Leaf]
    by: dict[str, Leaf]


async def leaf() -> Leaf:
    """Return one."""
    return {"x": 1}


async def leaves() -> list[Leaf]:
    """Return several."""
    return [{"x": 1}, {"x": 2, "name": "b"}]


async def deep() -> Deep:
    """Return parts."""
    return {"leaf": {"x": 1}, "many": [{"x": 1}], "by": {"q": {"x": 3}}}


async def one_of_two() -> Leaf | Other:
    """Return the first of two records."""
    return {"x": 1}


async def leaf_or_leaves(several: bool) -> Leaf | list[Leaf]:
    """Return one or several, as a service does with a path of a file or a folder."""
    return [{"x": 5}] if several else {"x": 4}


async def leaf_or_map() -> Leaf | dict[str, int]:
    """Return a record, or a dict with any keys."""
    return {"q": 1}


async def leaf_or_text() -> Leaf | str:
    """Return a text."""
    return "abc"


async def number_or_list() -> int | list[int]:
    """Return a list."""
    return [4]


async def lists() -> list[Leaf] | list[Other]:
    """Return the second of two lists."""
    found: list[Other] = [{"z": 4}]
    return found


async def leaf_or_none() -> Leaf | None:
    """Return one."""
    return {"x": 1}


async def state() -> Literal["open", "closed"]:
    """Return one of two."""
    return "open"


async def pair() -> tuple[int, str]:
    """Return two."""
    return 1, "a"


async def amount() -> int:
    """Return a number."""
    return 3


@tool(name="words", effect="read")
async def words_of() -> list[str]:
    """Return texts."""
    return ["a"]


async def counts() -> dict[str, int]:
    """Return numbers by name."""
    return {"a": 1}


TOOLS = [
    leaf,
    leaves,
    deep,
    one_of_two,
    leaf_or_leaves,
    leaf_or_map,
    leaf_or_text,
    number_or_list,
    lists,
    leaf_or_none,
]


@pytest_asyncio.fixture
async def cm() -> AsyncIterator[CodeMode]:
    """Yield a `CodeMode` with the tools."""
    async with codemode(tools=TOOLS) as session:
        yield session


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("(await tools.one_of_two())['x']", 1),
        ("(await tools.one_of_two()).get('x')", 1),
        ("(await tools.leaf_or_leaves(several=True))[0]['x']", 5),
        ("(await tools.leaf_or_leaves(several=False))['x']", 4),
        ("r = await tools.leaf_or_leaves(several=True)\n(r if isinstance(r, list) else [r])[0]['x']", 5),
        ("(await tools.leaf_or_map())['q']", 1),
        ("(await tools.leaf_or_map()).get('q')", 1),
        ("(await tools.leaf_or_text())[0]", "a"),
        ("(await tools.number_or_list())[0]", 4),
        ("(await tools.lists())[0]['z']", 4),
        ("(await tools.leaf_or_none())['x']", 1),
    ],
)
async def test_a_key_of_one_member_of_a_union_is_looked_up(cm: CodeMode, program: str, value: object) -> None:
    result = await cm.run_code(program)

    assert (result["output"], result["error"]) == (value, None)


@pytest.mark.parametrize(
    "program",
    [
        "(await tools.one_of_two())['k']",
        "(await tools.leaf_or_leaves(several=False))['k']",
        "(await tools.leaf_or_none())['k']",
        "(await tools.leaf_or_none())[0]",
        "(await tools.leaf())['k']",
        "next(iter(await tools.leaves()), {})['k']",
        # `get` says nothing, and finds nothing.
        "(await tools.leaf()).get('k')",
        "(await tools.one_of_two()).get('k', 0)",
        "[i.get('k', 0) for i in await tools.leaves()]",
        "r = await tools.deep()\nr['leaf'].get('k')",
        "r = await tools.deep()\nr.get('many', [])[0].get('k')",
        "r = await tools.deep()\nr.get('leaf', {}).get('k', 4)",
        "r = await tools.deep()\nr['by']['q'].get('k')",
        "((await tools.leaf_or_none()) or {}).get('k', 5)",
        "m = await tools.leaves()\nsum(i.get(\n  'k',  # why\n  0) for i in m)",
        # In a text, where Python 3.11 does not always know the place.
        "r = await tools.leaf()\nf\"{r.get('k')} of {r['x']}\"",
        "', '.join(f\"{i['x']}: {i.get('k', 0):>5}\" for i in await tools.leaves())",
        'r = await tools.leaf()\nf"""a\n{r.get("k")}\n"""',
        # Nothing of the value stands in for it.
        "r = await tools.leaf()\nr.get('k') or r.get('l')",
        "r = await tools.leaf()\nr.get('k', r.get('l', 3))",
        "r, s = await tools.leaf(), await tools.leaf()\nr.get('k') or s['x']",
        "r = await tools.leaf()\nr['x'] if r.get('k') else 0",
        "r = await tools.leaf()\ntry:\n    v = r['k']\nexcept KeyError:\n    v = 0\nv",
        "r = await tools.leaf()\nv = r.pop('k', None)\nv",
    ],
)
async def test_a_key_of_no_member_is_refused_before_anything_runs(cm: CodeMode, program: str) -> None:
    result = await cm.run_code(program)

    assert result["error"] is not None
    assert "has no key 'k'" in result["error"] or "is a dict, not a list" in result["error"]
    assert result["tool_calls"] == []


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("(await tools.leaf()).get('name', '-')", "-"),
        ("[i.get('name') for i in await tools.leaves()]", [None, "b"]),
        ("((await tools.leaf()) | {'k': 1}).get('k')", 1),
        ("r = await tools.leaf()\nr |= {'k': 1}\nr.get('k')", 1),
        ("r = await tools.leaf()\no = {'k': 5}\nr |= o\nr['k']", 5),
        ("r = await tools.leaf()\no = {'k': 5}\nr.update(o)\nr.get('k')", 5),
        ("r = {**(await tools.leaf()), 'k': 1}\nr.get('k')", 1),
        ("r = dict(await tools.leaf(), k=2)\nr.get('k')", 2),
        ("r = await tools.leaf()\nr.setdefault('k', 4)\nr.get('k')", 4),
        ("r = await tools.leaf()\nfor f in ['k']:\n    r[f] = 1\nr['k'] + r.get('k')", 2),
        ("r = await tools.leaf()\nf = 'k' + str(2)\nr[f] = 1\nr['k2'] + r.get('k2')", 2),
        ("r = await tools.deep()\nr['by'].get('k')", None),
        ("r = await tools.deep()\nr['by'].get('q', {}).get('x')", 3),
        ("c = {'k': 3}\nr = await tools.leaf()\nc.get('k') + r.get('x')", 4),
        ("def f(d):\n    return d.get('k', 2)\nf({'k': 5}) + f(await tools.leaf())", 7),
        ("r = await tools.leaf()\nr.get('k') or r.get('x')", 1),
        ("[i.get('k', i.get('l', i.get('x'))) for i in await tools.leaves()]", [1, 2]),
        ("r = await tools.leaf()\nr.get('k') if r.get('k') else r['x']", 1),
        ("r = await tools.leaf()\n(v := r.get('k')) or r['x']", 1),
        ("r = await tools.leaf()\nr.get('k', r)['x']", 1),
        ("r = await tools.leaf()\n[i['x'] for i in (r if isinstance(r, list) else r.get('k', [r]))]", [1]),
        ("r = await tools.leaf()\ntry:\n    v = r['k']\nexcept KeyError:\n    v = r['x']\nv", 1),
        ("r = await tools.leaf()\nr.pop('k', None)\nr", {"x": 1}),
        ("r = await tools.leaf()\nr.update([('k', 3)])\nr['k']", 3),
        ("r = await tools.leaf()\nr.update((n, 3) for n in 'k')\nr['k']", 3),
        ("r = await tools.leaf()\nn = 'k'\nr.update({n: 3})\nr['k']", 3),
        ("class C:\n    def get(self, k):\n        return k\nC().get('k')", "k"),
    ],
)
async def test_a_key_that_may_be_there_is_looked_up(cm: CodeMode, program: str, value: object) -> None:
    result = await cm.run_code(program)

    assert (result["output"], result["error"]) == (value, None)


async def test_of_programs_over_tools_of_random_types_the_wrong_ones_are_refused() -> None:
    outcomes = await fuzz(150, 1)

    assert (outcomes.wrong, outcomes.missed) == ([], [])
    assert (outcomes.right > 100, outcomes.found > 50) == (True, True)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("(await tools.state()).value", "a str: it has no 'value'"),
        ("(await tools.pair()).name", "a list: it has no 'name'"),
        ("(await tools.pair())['name']", "a list of values, not a dict"),
        ("len(await tools.amount())", "a number: it has no length"),
        ("(await tools.words()).split()", "a list: it has no 'split'"),
        ("[v['n'] for v in (await tools.counts()).values()]", "a number: it cannot be indexed"),
        ("[v['n'] for k, v in sorted((await tools.counts()).items())]", "a number: it cannot be indexed"),
        ("for i, w in enumerate(await tools.words()):\n    w['n']", "a str, not a dict"),
    ],
)
async def test_what_a_value_is_not_is_told_before_anything_runs(program: str, words: str) -> None:
    async with codemode(tools=[state, pair, amount, words_of, counts]) as session:
        result = await session.run_code(program)

    assert words in (result["error"] or "")
    assert result["tool_calls"] == []


@pytest.mark.parametrize(
    "program",
    [
        # The key that is stored is in no type, and another member of the union takes none.
        "r = await tools.leaf_or_none()\nr['k'] = 7\nr['k'] + r.get('k')",
        "r = await tools.leaf_or_map()\nr['q'] + 1 if r.get('q') else 0",
    ],
)
async def test_a_key_that_is_stored_in_a_union_is_looked_up(cm: CodeMode, program: str) -> None:
    assert (await cm.run_code(program))["error"] is None
