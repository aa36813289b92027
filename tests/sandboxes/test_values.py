"""The work of `to_json` on each kind of value, and what it refuses."""

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from codemode_sandboxes.guest.json_values import MAX_DEPTH, ValueTooLarge, clean_text, most_containers, to_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

UTC = datetime.UTC
Pair = namedtuple("Pair", "a b")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    tags: tuple[str, ...] = ()


class Text(str):
    """Shows that subclasses lose what they add."""

    def __str__(self) -> str:
        return "not what it holds"


CONVERSIONS: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (1.5, 1.5),
    ((1, (2,)), [1, [2]]),
    ({"b", "a"}, ["a", "b"]),
    ({10, 9}, [10, 9]),
    (frozenset([2, 1]), [1, 2]),
    (deque([1]), [1]),
    (Counter("aab"), {"a": 2, "b": 1}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (Pair(1, 2), [1, 2]),
    (datetime.datetime(2026, 3, 1, 9, tzinfo=UTC), "2026-03-01T09:00:00+00:00"),
    (datetime.date(2026, 3, 1), "2026-03-01"),
    (datetime.time(9, 30), "09:30:00"),
    (datetime.timedelta(minutes=1.5), 90.0),
    (decimal.Decimal("1.10"), "1.10"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Point(1, ("a",)), {"x": 1, "tags": ["a"]}),
    (Text("inner"), "inner"),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    (2**64, 2**64),
    (-(2**63) - 1, -(2**63) - 1),
    (10**4000, 10**4000),
    (float("-inf"), float("-inf")),
    ("a\x00b\ud800c", "a\x00b\ud800c"),
    ("\U0001f600", "\U0001f600"),
    ({1: "a", 2.5: "b", None: "c", Colour.RED: "d"}, {"1": "a", "2.5": "b", "None": "c", "red": "d"}),
    ({datetime.datetime(2026, 3, 1): 1, decimal.Decimal("1.10"): 2}, {"2026-03-01T00:00:00": 1, "1.10": 2}),
    ({"a\x00": 1}, {"a\x00": 1}),
    ([], []),
    ({}, {}),
]


@pytest.mark.parametrize(
    ("value", "expected"),
    CONVERSIONS,
    ids=[f"{type(value).__name__} {ascii(json)[:40]}" for value, json in CONVERSIONS],
)
def test_a_value_has_its_stated_json(value: Any, expected: Any) -> None:
    result = to_json(value, max_bytes=10_000)
    assert result == expected
    assert json.loads(json.dumps(result)) == expected
    assert type(result) is type(expected)


def _cycle() -> list[Any]:
    a: list[Any] = []
    a.append({"again": a})
    return a


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _doubled(times: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(times):
        value = [value, value]
    return value


REFUSALS: list[tuple[Any, type[Exception], str]] = [
    (b"x", TypeError, "base64"),
    ([bytearray(b"x")], TypeError, "base64"),
    (object(), TypeError, "'object'"),
    ({"a": [len]}, TypeError, "'builtin_function_or_method'"),
    (1j, TypeError, "'complex'"),
    (ValueError("x"), TypeError, "'ValueError'"),
    ({(1, 2): "c"}, TypeError, "tuple cannot be a key"),
    ({frozenset([1]): 1}, TypeError, "frozenset cannot be a key"),
    (_cycle(), ValueError, "contains itself"),
    (_nested(MAX_DEPTH + 1), ValueError, "60"),
    (_nested(100_000), ValueError, "60"),
    (10**5000, ValueError, "digits"),
    ({1: "a", "1": "b"}, ValueError, "'1'"),
    ("x" * 10_001, ValueTooLarge, "10,000"),
    (["x" * 5000, "x" * 5000], ValueTooLarge, "10,000"),
    (_doubled(50), ValueTooLarge, "10,000"),
]


@pytest.mark.parametrize(("value", "error", "words"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_value_that_json_has_nothing_for_is_refused(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        to_json(value, max_bytes=10_000)


def test_nesting_counts_from_the_top_also_where_a_container_occurs_twice() -> None:
    inner = _nested(MAX_DEPTH - 1)
    assert to_json([inner], max_bytes=1000) == [inner]
    with pytest.raises(ValueError, match="nested"):
        to_json([inner, [[inner]]], max_bytes=1000)


def test_values_that_grow_when_written_out_are_refused_soon() -> None:
    sets: frozenset[Any] = frozenset([1])
    lists: list[Any] = [1]
    for _ in range(28):
        sets = frozenset([sets, frozenset([sets])])
        lists = [lists, [lists]]
    for value in (sets, lists, {"a": [lists, sets]}):
        with pytest.raises(ValueTooLarge):
            to_json(value, max_bytes=2**24)


def test_what_occurs_twice_is_not_a_cycle() -> None:
    shared = {"a": 1}
    assert to_json([shared, shared, {"deeper": shared}], max_bytes=1000) == [{"a": 1}, {"a": 1}, {"deeper": {"a": 1}}]


def test_an_unknown_object_can_be_converted_by_the_caller() -> None:
    def convert(value: Any) -> Any:
        if isinstance(value, range):
            return list(value)
        raise TypeError(f"no {type(value).__name__}")

    assert to_json({"a": range(2)}, max_bytes=100, convert=convert) == {"a": [0, 1]}
    with pytest.raises(TypeError, match="no complex"):
        to_json([1j], max_bytes=100, convert=convert)


def test_a_conversion_that_never_ends_is_stopped() -> None:
    with pytest.raises(ValueError, match="nested"):
        to_json(1j, max_bytes=100, convert=lambda value: value)


def test_strings_pass_through_the_caller() -> None:
    assert to_json({"a": ["b"]}, max_bytes=100, text=str.upper) == {"A": ["B"]}


def test_clean_text_leaves_ordinary_text_alone() -> None:
    assert clean_text("ünï ✓\n\t") == "ünï ✓\n\t"


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine that does much else draws slowly
@given(JSON_VALUES)
def test_the_bound_is_the_exact_size_of_the_compact_json(value: Any) -> None:
    result = to_json(value, max_bytes=10**6)
    size = len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode())
    assert to_json(value, max_bytes=size) == result
    with pytest.raises(ValueTooLarge):
        to_json(value, max_bytes=size - 1)


def test_a_value_has_so_many_lists_and_dicts() -> None:
    most = most_containers(1_000_000)
    assert to_json([{}] * (most - 1) + ["{}[]" * 9], max_bytes=1_000_000)  # the same one many times counts once
    assert len(to_json([{} for _ in range(most - 1)], max_bytes=1_000_000)) == most - 1
    with pytest.raises(ValueTooLarge, match="lists and dicts"):
        to_json([{} for _ in range(most)], max_bytes=1_000_000)
