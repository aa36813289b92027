"""The type of the answer, held against a program before anything runs."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.source import to_script, tree_of

from codemode_graph.check import check_program
from codemode_graph.check.return_value import find_wrong_values
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.return_type import read_return_type
from codemode_graph.tools.signatures import Signatures, render_stubs
from codemode_graph.tools.spec import ToolSpec
from tests.check.office import SPECS
from tests.e2e.office import Office
from tests.e2e.test_programs import PROGRAMS as OFFICE_PROGRAMS
from tests.sandboxes.programs import PROGRAMS

S: dict[str, Any] = {"type": "string"}
N: dict[str, Any] = {"type": "number"}
NAMES = {"type": "array", "items": S}
REPORT = {
    "title": "Report",
    "type": "object",
    "properties": {"count": {"type": "integer"}, "titles": NAMES, "place": S},
    "required": ["count", "titles"],
}
SIGNATURES, STUBS = Signatures.of(SPECS), render_stubs(SPECS)
EVENTS = "e = await tools.list_events('c')\n"


@pytest.fixture(scope="module")
async def monty() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox()
    yield sandbox
    await sandbox.aclose()


async def found(program: str, schema: dict[str, Any], monty: MontySandbox) -> list[str]:
    returns = read_return_type(schema)
    assert returns is not None
    checked = await check_program(
        program,
        signatures=SIGNATURES,
        capabilities=monty.capabilities,
        stubs=STUBS,
        type_checker=monty,
        returns=returns,
    )
    return [f"{finding['rule']} {finding['line']}: {finding['message']}" for finding in checked.findings]


@pytest.mark.parametrize(
    ("program", "schema", "words"),
    [
        (f"{EVENTS}e", NAMES, "wrong-answer 2: the answer[i] is a whole ListEventsItem, but must be str: take"),
        (f"{EVENTS}[x for x in e if x['minutes'] > 3]", NAMES, "the answer[i] is a whole ListEventsItem"),
        (f"{EVENTS}[x['minutes'] for x in e]", NAMES, "the answer[i] is int, but must be str"),
        (f"{EVENTS}max(e, key=lambda x: x['minutes'])", S, "such as 'id'"),
        (f"{EVENTS}{{'total': sum(x['minutes'] for x in e)}}", N, "the answer is a dict, but must be float"),
        (f"{EVENTS}str(len(e))", N, "the answer is str, but must be float"),
        (f"{EVENTS}len(e) > 3", N, "the answer is bool, but must be float"),
        (f"{EVENTS}', '.join(x['title'] for x in e)", NAMES, "the answer is str, but must be list[str]"),
        (f"{EVENTS}e[0] if len(e) else None", S, "but must be str"),
        (f"{EVENTS}{{x['id']: x for x in e}}", {"type": "object", "additionalProperties": S}, "the answer[key] is"),
        ("{'count': 1, 'title': []}", REPORT, "the answer has no key 'titles'; its keys are 'count', 'title'; did you"),
        ("dict(count='1', titles=[])", REPORT, "the answer['count'] is '1', but must be int"),
        (f"{EVENTS}{{'count': 1, 'titles': e}}", REPORT, "the answer['titles'][i] is a whole"),
        (
            f"{EVENTS}[{{'count': 1}} for x in e]",
            {"type": "array", "items": REPORT},
            "the answer[i] has no key 'titles'",
        ),
        (
            f"{EVENTS}(e[0], 1)",
            {"type": "array", "prefixItems": [S, N], "minItems": 2, "items": False},
            "the answer[0] is",
        ),
        ("'open'", {"enum": ["paid", "due"]}, "the answer is 'open', but must be 'paid' | 'due'"),
        ("await tools['get_issue'](id=1)", REPORT, "which has no key 'count'"),
        (
            f"{EVENTS}rows = []\nfor x in e:\n    rows.append(x)\nrows",
            NAMES,
            "wrong-answer 4: the answer[i] is a whole",
        ),
        (f"{EVENTS}r = {{}}\nr['count'] = 'x'\nr['titles'] = []\nr", REPORT, "wrong-answer 3: the answer['count'] is"),
        (f"{EVENTS}r = {{'count': 1}}\nr['place'] = 'x'\nr", REPORT, "the answer has no key 'titles'"),
        (
            "async def main():\n    e = await tools.list_events('c')\n    print(e)",
            N,
            "main() returns nothing: end it with",
        ),
        (
            "async def find():\n    return await tools.list_events('c')\nasync def main():\n    e = await find()\n    return e",
            NAMES,
            "wrong-answer 2: the answer[i] is a whole",
        ),
        (
            "async def main():\n    if 1:\n        return 'none'\n    return 2",
            N,
            "wrong-answer 3: the answer is 'none'",
        ),
    ],
)
async def test_a_value_of_another_type_is_found(
    program: str, schema: dict[str, Any], words: str, monty: MontySandbox
) -> None:
    assert words in "; ".join(await found(program, schema, monty))


@pytest.mark.parametrize(
    ("program", "schema"),
    [
        (f"{EVENTS}[x['title'] for x in e]", NAMES),
        (f"{EVENTS}{{'count': len(e), 'titles': [x['title'] for x in e], 'more': 1}}", REPORT),
        (f"{EVENTS}r = {{}}\nr['count'] = len(e)\nr['titles'] = []\nr['titles'].append('x')\nr", REPORT),
        (f"{EVENTS}r = {{'count': 0}}\nr.update({{'titles': []}})\nr", REPORT),
        (f"{EVENTS}r = {{'count': 0}}\nr.update(await tools.raw())\nr", REPORT),
        (f"{EVENTS}r = {{'count': 0}}\nr |= await tools.raw()\nr", REPORT),
        (f"{EVENTS}r = {{'count': None, 'titles': []}}\nr['count'] = 3\nr", REPORT),
        (f"{EVENTS}rows = [{{'count': 1}} for x in e]\nfor r in rows:\n    r['titles'] = []\nrows", {"type": "array", "items": REPORT}),
        (f"{EVENTS}for x in e:\n    x['minutes'] = str(x['minutes'])\n[x['minutes'] for x in e]", NAMES),
        (f"{EVENTS}best = {{'a': 0}}\nbest['a'] = 'x'\nlist(best.values())", NAMES),
        ("xs = [0]\nxs[0] = 'a'\nxs", NAMES),
        ("import random\nxs = [3, 1]\nrandom.shuffle(xs)\nxs.extend([2])\nxs", {"type": "array", "items": N}),
        ("async def find():\n    return None\nr = await find()\nif r is None:\n    r = 'x'\nr", S),
        ("async def find():\n    return None\nasync def main():\n    r = await find()\n    if r:\n        return r\n    return 'x'", S),
        ("i = await tools['find_issue'](text='x')\ni['title'] if i else 'none'", S),
        ("try:\n    x = await tools.now()\nexcept Exception:\n    x = None\nx", S),
        ("r = await tools.raw()\nr['rows'][0]", S),
        ("[1, 'x']", {"type": "array", "prefixItems": [N, S], "minItems": 2, "maxItems": 2}),
        ("{'a': 1}", {"anyOf": [REPORT, {"type": "object", "additionalProperties": N}]}),
        ("{'a': 1}", {}),
        ("None", {"type": ["null", "string"]}),
        ("def f(n):\n    return f(n - 1) if n else 3\nf(2)", N),
        ("x = [x for x in 'ab']\nx", NAMES),
    ],
)  # fmt: skip
async def test_a_value_that_may_be_right_is_not(program: str, schema: dict[str, Any], monty: MontySandbox) -> None:
    assert await found(program, schema, monty) == []


def schema_of(value: Any) -> dict[str, Any]:
    """The narrowest schema of a value, of types alone."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        properties = {key: schema_of(each) for key, each in value.items()}
        return {"type": "object", "properties": properties, "required": list(value)}
    if isinstance(value, list):
        return {"type": "array", "items": {"anyOf": [schema_of(each) for each in value]} if value else {}}
    name = {bool: "boolean", str: "string", int: "number", float: "number", type(None): "null"}.get(type(value))
    return {} if name is None else {"type": name}


async def test_ordinary_programs_return_what_they_return(monty: MontySandbox) -> None:
    specs = load_tools(Office().tools)
    cases: list[tuple[str, Any, Sequence[ToolSpec]]] = [
        (case.code, case.value, []) for case in PROGRAMS if case.error is None
    ]
    cases += [(code, value, specs) for code, value in OFFICE_PROGRAMS.values()]
    for code, value, tools in cases:
        signatures, stubs = Signatures.of(tools), render_stubs(tools)
        checked = await check_program(code, signatures=signatures, capabilities=monty.capabilities, stubs=stubs)
        try:
            text = to_script(checked.program).code
        except SyntaxError:
            continue  # a reply, not a program
        returns = read_return_type(schema_of(value))
        assert returns is not None
        wrong = await find_wrong_values(
            text, tree_of(text), returns, signatures=signatures, stubs=stubs, type_checker=monty
        )
        assert wrong == [], code


@pytest.mark.parametrize(
    "program",
    [
        "x0 = []\n" + "\n".join(f"x{n + 1} = [x{n}, x{n}]" for n in range(60)) + "\nx60",
        "\n".join(f"def f{n}():\n    return [f{n + 1}(), f{n + 1}()]" for n in range(60)) + "\nf0()",
        "def f():\n    return f()\nf()",
        "a = b\nb = a\na",
        "class A:\n    x = 1\nA.x",
        "_answer_0 = 1\n_answer_0",
        "",
        "pass",
    ],
)
async def test_hostile_programs_are_bounded(program: str, monty: MontySandbox) -> None:
    recursive = {"$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}, "$ref": "#/$defs/L"}
    assert len(await found(program, recursive, monty)) <= 20


VALUES = (
    "b'a'",
    "1j",
    "-1",
    "+True",
    "f'{1}'",
    "b'a' + b'b'",
    "[b'a', ...]",
    "{b'a': 1}",
    "{1, b'a'}",
    "lambda: b'a'",
    "10**400",
)


@pytest.mark.parametrize("schema", [S, N, NAMES, REPORT, {"enum": ["a", 1, None]}, {"type": "object"}])
async def test_any_value_can_be_held_against_any_type(schema: dict[str, Any], monty: MontySandbox) -> None:
    for value in VALUES:
        for program in (
            value,
            f"x = {value}\nx",
            f"[{value}]",
            f"{{'count': {value}}}",
            f"{value} if input else {value}",
        ):
            await found(program, schema, monty)
