from typing import Any, cast

import pytest

from codemode_graph.model.repair_message import find_key
from codemode_graph.state import ToolCall


def call(value: Any, status: str = "done") -> ToolCall:
    return cast("ToolCall", {"tool": "t", "status": status, "value": value})


@pytest.mark.parametrize(
    ("key", "value", "places"),
    [
        ("b", {"a": {"b": 1}}, ["['a']['b'] in what tools['t'] returned"]),
        ("b", [{"b": 1}, {"b": 2}], ["[0]['b'] in what tools['t'] returned"]),
        ("b", {"a": {"b": 1}, "b": 2}, ["['b'] in what tools['t'] returned", "['a']['b'] in what tools['t'] returned"]),
        ("altitude", {"site": {"altitude_m": 3}}, ["['site']['altitude_m'] in what tools['t'] returned"]),
        ("zzz", {"a": 1}, []),
        ("a", "text", []),
    ],
)
def test_a_key_is_found_where_it_is(key: str, value: Any, places: list[str]) -> None:
    assert find_key(key, [call(value)]) == places


def test_only_calls_that_are_done_are_looked_through() -> None:
    assert find_key("a", [call({"a": 1}, "failed")]) == []


def test_a_huge_value_is_looked_through_in_part() -> None:
    deep: Any = {"a": 1}
    for _ in range(20_000):
        deep = {"x": deep}
    assert find_key("a", [call(deep)]) == []
