"""Plain arguments are not converted: what comes of them is what the conversion would have made of them."""

import json
import math
from typing import Any

import pytest
from codemode_sandboxes.guest.json_values import to_json
from codemode_sandboxes.guest.link import encode, encode_arguments
from codemode_sandboxes.monty.convert import arguments_from_monty, from_monty
from codemode_sandboxes.process.frames import ProtocolError, parse
from hypothesis import given
from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        ["<coroutine external_future(1)>", "dict_keys([1])", "range(0, 3)", "_tool_0", "\ud800", "a\0", '"']
    )
)
ARGUMENTS = st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
NAMED = st.dictionaries(
    st.text(max_size=5), SCALARS | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2), max_size=3
)


def outcome(function: Any, *values: Any, **options: Any) -> Any:
    """Return the outcome of a call: a value, written so that 1, 1.0 and True differ; or an error."""
    try:
        return json.dumps(function(*values, **options))
    except (TypeError, ValueError, ProtocolError) as error:
        return type(error), str(error)


@given(ARGUMENTS, NAMED, st.sampled_from([30, 10_000]))
def test_a_guest_writes_arguments_as_it_writes_other_values(
    args: list[Any], kwargs: dict[str, Any], max_bytes: int
) -> None:
    written = outcome(encode_arguments, tuple(args), kwargs, max_bytes=max_bytes)
    assert written == outcome(encode, [args, kwargs], max_bytes=max_bytes)


@given(ARGUMENTS, NAMED, st.sampled_from([30, 10_000]))
def test_arguments_come_out_of_monty_as_other_values_do(
    args: list[Any], kwargs: dict[str, Any], max_bytes: int
) -> None:
    found = outcome(arguments_from_monty, tuple(args), kwargs, max_bytes=max_bytes)
    assert found == outcome(from_monty, [args, kwargs], max_bytes=max_bytes, around=2)


def frame(**parts: Any) -> bytes:
    return json.dumps(parts).encode()


def converted(line: bytes, value_bytes: int) -> Any:
    found = json.loads(line)
    try:
        return found | {
            key: to_json(found[key], max_bytes=value_bytes, around=around)
            for key, around in (("value", 0), ("arguments", 2))
            if key in found
        }
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a frame holds a value that no guest sends: {error}") from None


@given(ARGUMENTS, NAMED, SCALARS, st.booleans(), st.sampled_from([30, 100, 10_000]))
def test_a_frame_is_read_as_one_that_is_converted(
    args: list[Any], kwargs: dict[str, Any], value: Any, both: bool, value_bytes: int
) -> None:
    line = frame(type="call", id=1, arguments=[args, kwargs], **({"value": value} if both else {}))
    assert outcome(parse, line, value_bytes=value_bytes) == outcome(converted, line, value_bytes)


@pytest.mark.parametrize("value", ["1" * 4301, "[" * 100 + "]" * 100])
def test_plain_arguments_do_not_let_another_value_through(value: str) -> None:
    line = f'{{"type":"finished","value":{value},"arguments":[[1],{{}}]}}'.encode()
    with pytest.raises(ProtocolError):
        parse(line, value_bytes=10_000)


def test_floats_that_are_written_longer_than_they_came_count_as_they_are_written() -> None:
    line = b'{"type":"call","arguments":[[' + b",".join([b"9e15"] * 100) + b"],{}]}"
    assert len(line) < 600
    with pytest.raises(ProtocolError, match="larger than 1,000 bytes"):
        parse(line, value_bytes=1000)
    assert all(math.isfinite(each) for each in parse(line, value_bytes=3000)["arguments"][0])
