from typing import Any, cast

import pytest

from codemode_graph.prompts.keys import find_key
from codemode_graph.state import ToolCall


def call(value: Any, status: str = "done") -> ToolCall:
    return cast("ToolCall", {"tool": "t", "status": status, "value": value})


@pytest.mark.parametrize(
    ("key", "value", "places"),
    [
        ("b", {"a": {"b": 1}}, ["tools['t']: value['a']['b']"]),
        ("b", [{"b": 1}, {"b": 2}], ["tools['t']: value[0]['b']"]),
        ("b", {"a": {"b": 1}, "b": 2}, ["tools['t']: value['b']", "tools['t']: value['a']['b']"]),
        ("altitude", {"site": {"altitude_m": 3}}, ["tools['t']: value['site']['altitude_m']"]),
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
