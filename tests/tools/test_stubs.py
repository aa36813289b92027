import ast
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codemode_graph.tools.schema import Parameters
from codemode_graph.tools.signatures import render_stubs
from codemode_graph.tools.spec import ToolSpec
from tests.tools.conftest import Check
from tests.tools.hostile import DOUBLING, names, schemas

Make = Callable[..., ToolSpec]

EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "count": {"type": "number"},
        "from": {"type": "string"},
        "status": {"enum": ["open", "closed"]},
        "note": {"type": ["string", "null"]},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/Event"}},
    },
    "required": ["id", "count", "from", "status", "kids"],
}


@pytest.fixture
def tools(make: Make) -> list[ToolSpec]:
    return [
        make(
            "list-events",
            {
                "limit": {"type": "integer", "default": 50},
                "calendar_id": {"type": "string"},
                "status": {"enum": ["open", "closed"]},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
            },
            {"type": "array", "items": {"$ref": "#/$defs/Event"}, "$defs": {"Event": EVENT}},
            required=["calendar_id"],
        ),
        make("save", {"event": EVENT | {"$defs": {"Event": EVENT}}, "events": {"type": "array", "items": {}}}),
        make("mail", {"from": {"type": "string"}, "If-Match": {"type": "integer"}, "to": {"type": "string"}}),
        make("open", {"a": {"type": "string"}}, {"type": "object", "properties": {"a": {"type": "string"}}}),
        make("pair", output={"type": "array", "prefixItems": [{"type": "integer"}, {}], "minItems": 2, "maxItems": 2}),
        make("self", {"self": {"type": "number"}, "kwargs": {}}, {"additionalProperties": {"type": "boolean"}}),
    ]


@pytest.mark.parametrize(
    "program",
    [
        "(await tools['list-events']('w', 3))[0]['kids'][0]['from'].upper()",
        "(await tools.list_events(limit=3, calendar_id='w', status='open'))[0]['note']",
        "for status in ['open', 'closed']:\n    await tools.list_events('w', status=status)",
        "tags = ['a']\ntags.append('b')\nawait tools.list_events('w', tags=tags)",
        "for n in range((await tools.list_events('w'))[0]['count']):\n    await tools.list_events('w', n / 1)",
        "event = {'id': 'x'}\nevent['count'] = 2\nawait tools.save(event)",
        "events = await tools.list_events('w')\nawait tools.save(event=events[0], events=events)",
        "await tools.save({'id': 'x', 'kids': []}, [{'a': 1}, 2])",
        "await tools.mail(**{'from': 'me', 'If-Match': 3})",
        "await tools.mail('me', to='you')",
        "await tools.mail(from_='me')",
        "a, b = await tools.pair()\na + 1\nb.anything",
        "await tools['self'](self=1, kwargs=2)",
        "(await tools['self'](1))['any'] is True",
        "for name in tools:\n    if name in tools:\n        await tools[name]()\nlen(tools)",
        "import asyncio\nboth = await asyncio.gather(*[tools.list_events(c) for c in 'ab'])\nboth[0][0]['id']",
        "def Event(x):\n    return x\nEvent(1)",
    ],
)
def test_a_good_program_passes(check: Check, tools: list[ToolSpec], program: str) -> None:
    assert check(tools, program) == ""


@pytest.mark.parametrize(
    ("program", "finding"),
    [
        ("await tools['list-event']('w')", "cannot be called with key of type"),
        ("await tools.list_event('w')", "has no attribute `list_event`"),
        ("await tools['list-events']()", "No argument provided for required parameter `calendar_id`"),
        ("await tools['list-events']('w', lim=3)", "Argument `lim` does not match any known parameter"),
        ("await tools['list-events'](3)", "Expected `str`, found `Literal[3]`"),
        ("await tools['list-events']('w', '3')", 'Expected `float`, found `Literal["3"]`'),
        ("await tools['list-events']('w', status='opened')", 'found `Literal["opened"]`'),
        ("await tools['list-events']('w', tags='a')", 'Expected `List[str]`, found `Literal["a"]`'),
        ("[e['titel'] for e in await tools.list_events('w')]", 'Unknown key "titel" for TypedDict `Event`'),
        ("(await tools.list_events('w'))['items']", "list[Event]"),
        ("[e['title'] for e in tools.list_events('w')]", "is not iterable"),
        ("await tools.save('x')", "Expected `Mapping[str, Any]`"),
        ("(await tools.open('x'))['b']", 'Unknown key "b" for TypedDict `OpenResult`'),
        ("await tools.open('x', 'y')", "Too many positional arguments"),
        ("event: Event = {}", "Name `Event` used when not defined"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(
    check: Check, tools: list[ToolSpec], program: str, finding: str
) -> None:
    assert finding in check(tools, program)


def test_each_type_stands_once_and_types_that_no_result_has_are_left_out(make: Make) -> None:
    definitions = {"User": {"type": "object", "properties": {"name": {"type": "string"}}}, "Unused": EVENT}
    users = {"type": "array", "items": {"$ref": "#/$defs/User"}, "$defs": definitions}
    user = {"$ref": "#/definitions/User", "definitions": definitions}
    other = {"title": "User", "type": "object", "properties": {"id": {"type": "integer"}}}
    text = render_stubs([make("a", output=users), make("b", output=user), make("c", {"x": EVENT}, other)])
    assert [line for line in text.splitlines() if " = TypedDict(" in line] == [
        "User = TypedDict('User', {'name': NotRequired[str]})",
        "CUser = TypedDict('CUser', {'id': NotRequired[int]})",
    ]
    assert "-> list[User]:" in text
    assert "-> User:" in text
    assert "-> CUser:" in text
    assert "class List" not in text


@pytest.mark.parametrize(
    ("schema", "annotation"),
    [
        ({"type": "string", "format": "date-time"}, "str"),
        ({"type": ["integer", "null"]}, "int | None"),
        ({"type": "string", "nullable": True}, "str | None"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "bool | None"),
        ({"oneOf": [{"const": "a"}, {"const": "b"}, {"type": "integer"}]}, "Literal['a', 'b'] | int"),
        ({"type": "string", "anyOf": [{"format": "date"}, {"pattern": "x"}]}, "str"),
        ({"enum": ["a", 1, True, None]}, "Literal['a', 1, True, None]"),
        ({"enum": ["v" * 30_000]}, "str"),
        ({"enum": [1.5, 2]}, "int"),
        ({"enum": [{"a": 1}]}, "dict[str, Any]"),
        ({"const": "x"}, "Literal['x']"),
        ({"type": "array"}, "list[Any]"),
        ({"items": {"type": "integer"}}, "list[int]"),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, "list[int | str]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"additionalProperties": {"type": "array"}}, "dict[str, list[Any]]"),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}}, "TResult"),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, "TResult"),
        ({"properties": {"a": {}}, "anyOf": [{"required": ["a"]}, {"required": []}]}, "TResult"),
        ({"type": "thing"}, "Any"),
        ({"$ref": "#"}, "Any"),
        ({"$ref": "https://elsewhere"}, "Any"),
        ({"$ref": "#/$defs/J", "$defs": {"J": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/J"}]}}}, "Any"),
        (DOUBLING, "Any"),
        (True, "Any"),
        ({}, "Any"),
    ],
)
def test_a_schema_becomes_an_annotation(make: Make, schema: Any, annotation: str) -> None:
    assert f"async def __call__(self) -> {annotation}: ..." in render_stubs([make(output=schema)])


def test_open_records_allow_other_keys(check: Check, make: Make) -> None:
    output = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}
    assert check([make(output=output)], "(await tools.t())['other'].anything") == ""
    assert "Object of type `str`" in check([make(output=output)], "(await tools.t())['a'].anything")


def test_alternatives_of_records_are_distinguished_by_a_literal(check: Check, make: Make) -> None:
    kinds = [
        {"properties": {"kind": {"const": kind}, kind: {"type": "string"}}, "required": ["kind", kind]}
        for kind in ("cat", "dog")
    ]
    tools = [make(output={"type": "object", "oneOf": kinds})]
    assert check(tools, "pet = await tools.t()\nif pet['kind'] == 'cat':\n    pet['cat']") == ""
    assert "Unknown key" in check(tools, "pet = await tools.t()\nif pet['kind'] == 'cat':\n    pet['dog']")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_any_number_of_tools_can_be_checked(check: Check, make: Make, count: int) -> None:
    tools = [make(f"t{n}") for n in range(count)]
    program = "".join(f"await tools['t{n}']()\nawait tools.t{n}()\n" for n in range(count))
    assert check(tools, program + "len(tools)") == ""


def test_of_two_tools_of_one_name_the_first_counts(make: Make) -> None:
    text = render_stubs([make("a", output={"type": "string"}), make("a", output={"type": "integer"})])
    assert "-> str:" in text
    assert "class tool_a" in text
    assert "tool_1" not in text


def test_a_thousand_tools_are_checked_quickly_enough(check: Check, make: Make) -> None:
    tools = [make(f"tool-{n}", {"a": {"type": "string"}}, EVENT | {"title": f"R{n}"}) for n in range(1000)]
    assert check(tools, "(await tools['tool-999']('a'))['id'].upper()") == ""


@given(
    tools=st.lists(st.tuples(names, st.dictionaries(names, schemas, max_size=4), schemas), max_size=4),
    description=st.text(max_size=20) | st.sampled_from(['"""', "'''", "\\", "\0"]),
)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_schemas_and_names_the_stub_is_python(
    tools: list[tuple[str, dict[str, Any], Any]], description: str
) -> None:
    ast.parse(render_stubs(_hostile(tools, description)))


@given(tools=st.lists(st.tuples(names, st.dictionaries(names, schemas, max_size=4), schemas), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_schemas_and_names_the_checker_takes_the_stub(
    check: Check, tools: list[tuple[str, dict[str, Any], Any]]
) -> None:
    specs = _hostile(tools, "")
    known = {spec.name: spec for spec in reversed(specs)}
    calls = [
        f"    await tools[{name!a}](**{dict.fromkeys(item.name for item in Parameters(spec.input_schema))!a})\n"
        for name, spec in known.items()
    ]
    found = check(specs, f"async def main(x: dict):\n{''.join(calls)}    tools['no such tool']\n")
    assert "cannot be called with key of type" in found
    allowed = ("cannot be called with key", "is incorrect: Expected")
    assert all(any(word in line for word in allowed) for line in found.splitlines() if line.strip()), found


def _hostile(tools: list[tuple[str, dict[str, Any], Any]], description: str) -> list[ToolSpec]:
    async def call(arguments: dict[str, Any], config: Any) -> None: ...

    return [
        ToolSpec(
            name=name,
            call=call,
            description=description,
            input_schema={"properties": properties, "required": list(properties)[:1]},
            output_schema=output,
        )
        for name, properties, output in tools
    ]
