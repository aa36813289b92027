import ast
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codemode_graph.tools.example import example_program
from codemode_graph.tools.spec import ToolSpec
from tests.tools.conftest import Check
from tests.tools.hostile import names, schemas

Make = Callable[..., ToolSpec]

TEXT = {"type": "string"}
EVENTS = {
    "type": "array",
    "items": {"type": "object", "properties": {"id": TEXT, "title": TEXT}, "required": ["id", "title"]},
}


def returned(program: str) -> str:
    return program.splitlines()[-1].strip()


def test_the_smallest_reading_tool_comes_first_and_then_one_with_keys(make: Make) -> None:
    tools = [
        make("delete-all", effect="destructive"),
        make("get_weather", {"city": TEXT, "day": TEXT}, TEXT, required=["city", "day"], effect="read"),
        make("list-events", {"calendar": {"enum": ["work"]}, "n": {}}, EVENTS, required=["calendar"], effect="read"),
        make("count", output={"type": "integer"}, effect="read"),
    ]
    assert example_program(tools) == (
        "async def main():\n"
        "    count = await tools['count']()\n"
        "    events = await tools['list-events'](calendar='work')\n"
        "    return {'count': count, 'events': [item['title'] for item in events]}\n"
    )


def test_without_a_reading_tool_one_that_writes_is_shown(make: Make) -> None:
    assert "await tools['send']()" in example_program([make("drop", effect="destructive"), make("send")])


@pytest.mark.parametrize("tools", [[], [{"anything": {}}]])
def test_without_a_tool_that_can_be_called_none_is(make: Make, tools: list[Any]) -> None:
    program = example_program([make(properties=properties, required=list(properties)) for properties in tools])
    assert "await" not in program
    assert ast.parse(program).body


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "default": "x", "examples": ["y"]}, "'x'"),
        ({"type": "string", "examples": [3, "y"]}, "'y'"),
        ({"type": "string", "example": "z"}, "'z'"),
        ({"enum": [None, "a"]}, "'a'"),
        ({"type": "string", "format": "date"}, "'2026-01-31'"),
        ({"type": "string", "description": 'Which one, "work" or "home".'}, "'work'"),
        ({"type": "string", "description": "A city, e.g. Bern."}, "'Bern'"),
        (TEXT, "'arg'"),
        ({"type": "integer", "minimum": 5}, "5"),
        ({"type": "integer"}, "1"),
        ({"type": ["boolean", "null"]}, "True"),
        ({"type": "array", "items": TEXT}, "['arg']"),
        (
            {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}, "required": ["email"]},
            "{'email': 'ann@example.com'}",
        ),
    ],
)
def test_arguments_are_plausible_and_pass_the_checker(check: Check, make: Make, schema: Any, value: str) -> None:
    tool = make("look-up", {"arg": schema}, required=["arg"], effect="read")
    program = example_program([tool])
    assert f"await tools['look-up'](arg={value})" in program
    assert check([tool], program) == ""


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (None, "user"),
        (EVENTS, "[item['title'] for item in user]"),
        (
            {"type": "object", "properties": {"a": TEXT, "b": EVENTS}, "required": ["a", "b"]},
            "[item['title'] for item in user['b']]",
        ),
        ({"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["b"]}, "user['b']"),
        ({"type": "object", "properties": {"a": TEXT}}, "user"),
        ({"type": ["object", "null"], "properties": {"a": TEXT}, "required": ["a"]}, "user"),
    ],
)
def test_the_value_uses_declared_keys_only(check: Check, make: Make, output: Any, value: str) -> None:
    tool = make("find-user", output=output, effect="read")
    program = example_program([tool])
    assert returned(program) == f"return {value}"
    assert check([tool], program) == ""


@given(
    tools=st.lists(
        st.tuples(names, st.dictionaries(names, schemas, max_size=3), schemas, st.sampled_from(["read", "write"])),
        max_size=3,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_tools_the_example_passes_the_checker(
    check: Check, make: Make, tools: list[tuple[str, dict[str, Any], Any, Any]]
) -> None:
    specs = [
        make(name, properties, output, required=list(properties), effect=effect)
        for name, properties, output, effect in {tool[0]: tool for tool in tools}.values()
    ]
    assert check(specs, example_program(specs)) == ""
