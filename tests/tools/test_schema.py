import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemode_graph.tools.schema import MISSING, Document, Parameters, bind
from tests.tools.hostile import DOUBLING, json_values, schemas

EVENTS = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "default": 50},
        "calendar_id": {"type": "string", "description": "Which one."},
        "status": {"enum": ["open", "closed"]},
    },
    "required": ["calendar_id"],
}
ODD = {
    "properties": {"from": {"type": "string"}, "If-Match": {}, "$top": {}, "from_": {}, "self": {}, "1st": {}},
    "required": ["from"],
}
BODY = {"properties": {"body": {"type": "object"}, "note": {"type": "string"}}, "required": ["body"]}


def test_required_arguments_come_first_and_each_group_in_the_order_of_the_properties() -> None:
    assert [item.name for item in Parameters(EVENTS)] == ["calendar_id", "limit", "status"]
    calendar, limit, status = Parameters(EVENTS)
    assert (calendar.required, calendar.default, calendar.description) == (True, MISSING, "Which one.")
    assert (limit.required, limit.default, status.default) == (False, 50, MISSING)


@pytest.mark.parametrize(
    ("schema", "args", "kwargs", "bound"),
    [
        (EVENTS, ("a", 3), {}, {"calendar_id": "a", "limit": 3}),
        (EVENTS, ("a",), {"status": "open"}, {"calendar_id": "a", "status": "open"}),
        (EVENTS, (), {"calendar_id": "a", "limit": None}, {"calendar_id": "a", "limit": None}),
        (EVENTS, ({"calendar_id": "w"},), {}, {"calendar_id": "w"}),
        (EVENTS, ({"calendar_id": "w"},), {"limit": 1}, {"calendar_id": "w", "limit": 1}),
        (BODY, ({"note": "x"},), {}, {"body": {"note": "x"}}),
        ({"properties": {"any": {}}}, ({"any": 1},), {}, {"any": {"any": 1}}),
        ({"properties": {}}, ({},), {}, {}),
        (ODD, ("x",), {}, {"from": "x"}),
        (ODD, (), {"from": "x", "If-Match": 1, "from_": 2}, {"from": "x", "If-Match": 1, "from_": 2}),
        (ODD, (), {"from__": "x", "If_Match": 1, "top": 2}, {"from": "x", "If-Match": 1, "$top": 2}),
        ({"type": "object"}, (), {"whatever": 1}, {"whatever": 1}),
        ({**EVENTS, "additionalProperties": True}, ("a",), {"more": 1}, {"calendar_id": "a", "more": 1}),
        (True, (), {"whatever": 1}, {"whatever": 1}),
    ],
)
def test_a_call_is_bound_exactly_and_leniently(
    schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any], bound: dict[str, Any]
) -> None:
    assert bind("t", schema, args, kwargs) == bound


LISTED = "its arguments are calendar_id, limit=50, status=..."


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("w",), {"lim": 3}, f"list-events() got an unexpected argument 'lim' (did you mean 'limit'?); {LISTED}"),
        (("w",), {"zzz": 3}, f"list-events() got an unexpected argument 'zzz'; {LISTED}"),
        ((), {}, f"list-events() is missing the argument 'calendar_id'; {LISTED}"),
        ((1, 2, 3, 4), {}, f"list-events() takes 3 positional arguments but 4 were given; {LISTED}"),
        (("w",), {"calendar_id": "v"}, f"list-events() got two values for the argument 'calendar_id'; {LISTED}"),
        (({"calendar_id": "v"},), {"calendar_id": "w"}, "list-events() got two values for the argument 'calendar_id'"),
    ],
)
def test_a_call_that_does_not_fit_says_how_the_tool_is_called(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        bind("list-events", EVENTS, args, kwargs)
    assert str(caught.value) == message


def test_arguments_of_alternatives_are_known_and_required_where_all_require_them() -> None:
    schema = {
        "anyOf": [
            {"properties": {"id": {}, "by": {}}, "required": ["id", "by"]},
            {"properties": {"name": {}, "by": {}}, "required": ["name", "by"]},
        ]
    }
    parameters = Parameters(schema)
    assert {item.name: item.required for item in parameters} == {"by": True, "id": False, "name": False}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("#/$defs/a~1b", 1),
        ("#/list/1/x", 2),
        ("#/$defs/sp%20ace", 3),
        ("#/list/9", True),
        ("#/list/x", True),
        ("#nowhere", True),
        ("https://elsewhere/schema", True),
    ],
)
def test_references_reach_anything_in_the_document(pointer: str, found: object) -> None:
    root = {"$defs": {"a/b": 1, "sp ace": 3}, "list": [0, {"x": 2}]}
    assert Document(root).follow(pointer) == found


def test_a_property_that_is_called_like_a_reference_is_a_property() -> None:
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}, "allOf": {}}, "required": ["$ref"]}
    assert [item.name for item in Parameters(schema)] == ["$ref", "allOf"]
    assert bind("t", schema, (), {"$ref": "x"}) == {"$ref": "x"}


def test_all_of_is_merged_through_references() -> None:
    base = {"properties": {"id": {"type": "string"}}, "required": ["id"]}
    schema = {
        "$defs": {"Base": base},
        "allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"n": {}}, "required": ["n"]}],
    }
    assert bind("t", schema, ("a", 1), {}) == {"id": "a", "n": 1}


@given(schema=schemas, args=st.lists(json_values, max_size=3), kwargs=st.dictionaries(st.text(max_size=3), json_values))
@settings(max_examples=40, deadline=None)
def test_no_schema_is_too_broken_to_bind_a_call(schema: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    with contextlib.suppress(TypeError):
        bind("t", schema, args, kwargs)


def test_a_schema_that_doubles_at_every_step_is_read_in_bounded_time() -> None:
    assert [item.name for item in Parameters(DOUBLING)] == []
