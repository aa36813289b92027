"""The values of MCP tools, over every transport."""

import asyncio
import json
from typing import Any

import pytest

from codemode_graph import codemode
from codemode_graph.errors import ToolCallError, UnusableResult
from codemode_graph.mcp_sdk import MAJOR
from codemode_graph.tools.artifacts import Artifact
from tests.mcp.conftest import Tools, loaded
from tests.mcp.servers.raw import ODD
from tests.servers import own_server

IMAGE = Artifact(b"hi", "image/png")
TAKE_TEXT = """
try:
    await tools['{}']()
except ValueError as e:
    handle = str(e).partition("handle='")[2].partition("'")[0]
await tools['load_value'](handle=handle)
"""
LINK = {
    "type": "resource_link",
    "uri": "file:///a.txt",
    "name": "a.txt",
    "size": 5,
    "annotations": {"audience": ["user"]},
    "_meta": {"etag": "x"},
}


@pytest.mark.parametrize(
    ("tool", "value"),
    [
        ("nothing", None),
        ("prose", "three files"),
        ("number_text", "123"),
        ("quoted_text", '"quoted"'),
        ("json_object", {"a": [1, None]}),
        ("json_array", [1, 2]),
        ("python_repr", "[{'id': 1}]"),
        ("deep", "[" * 100_000),
        ("two_texts", ["one", {"two": 2}]),
        ("text_and_image", ["a picture", IMAGE]),
        ("image", IMAGE),
        ("audio", Artifact(b"hi", "audio/wav")),
        ("link", {"type": "resource_link", "uri": "file:///a.txt", "name": "a.txt"}),
        (
            "resource",
            {"type": "resource", "resource": {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "hello"}},
        ),
        ("structured", {"content": "text", "_content": ["other words"]}),
        ("structured_and_more", {"n": 1, "_content": [IMAGE], "_meta": {"cursor": "next"}}),
        ("list_and_more", {"result": [1, 2], "_content": [IMAGE]}),
        ("blob", Artifact(b"%PDF", "application/pdf", "file:///a.pdf")),
        ("parts_with_meta", [{"result": "a", "_meta": {"next": 2}}, {"n": 1, "_meta": {"next": 3}}]),
        ("data_with_meta", {"result": IMAGE, "_meta": {"width": 1}}),
        ("repeated_with_meta", {"n": 1, "_content": [{"n": 1, "_meta": {"next": 2}}]}),
        ("link_in_full", LINK),
        ("own_keys", {"result": {"_content": "own", "_meta": "own"}, "_content": ["more"], "_meta": {"next": 2}}),
        ("no_data", Artifact(b"", "image/png")),
        ("wrapped", [1, 2]),
        ("marked", 7),
        ("own_result", {"result": "x", "took": 0.5}),
        ("rows", [{"id": 1}]),
        ("encoded_twice", {"result": '{"rows": []}', "took": 1}),
        ("against_its_schema", {"n": "not a number"}),
        ("schema_but_text", {"n": 1}),
    ],
)
async def test_the_value_is_plain(answers: Tools, tool: str, value: Any) -> None:
    assert await answers(tool) == value


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("failed", "no such file: x\nlook again"),
        ("failed_structured", '{"code": 4}'),
        ("failed_with_both", 'no such file\n{"code": 4}'),
        (
            "failed_with_parts",
            "Artifact('image/png', 2 bytes)\nfile:///log: disk full\n"
            '{"name": "x", "uri": "file:///x", "type": "resource_link"}\n{"_meta": {"retry": 30}}',
        ),
        ("failed_silently", "failed_silently failed and did not say why"),
        ("refused", "there is no parameter 'x'"),
    ],
)
async def test_an_error_is_raised_with_its_text(answers: Tools, tool: str, message: str) -> None:
    with pytest.raises(ToolCallError) as error:
        await answers(tool)
    assert str(error.value) == message


async def test_arguments_arrive_as_they_are(answers: Tools) -> None:
    arguments: dict[str, Any] = {
        "config": {"configurable": 1},
        "runtime": "r",
        "run_manager": None,
        "callbacks": [],
        "from": {"nested": None, "list": [None]},
        "self": 2**63,
        "name": "é\u2028😀",
    }
    assert await answers("arguments/of-a.call", **{"tool_call_id": 1}) == {"arguments": {"tool_call_id": 1}}
    spec = answers["arguments/of-a.call"]
    assert await spec.call(arguments, {}) == {"arguments": arguments}


@pytest.mark.parametrize("value", ["half a pair \ud83d", object()])
async def test_arguments_that_are_not_json_are_refused_and_the_session_stands(answers: Tools, value: Any) -> None:
    with pytest.raises(ValueError, match=r"arguments/of-a\.call cannot be sent as JSON"):
        await answers("arguments/of-a.call", x=value)
    assert await answers("prose") == "three files"


@pytest.mark.parametrize(
    ("tool", "schema"),
    [
        ("prose", None),
        ("wrapped", {"type": "array"}),
        ("marked", {"type": "integer"}),
        (
            "rows",
            {
                "type": "array",
                "items": {"$ref": "#/$defs/Row"},
                "$defs": {"Row": {"type": "object", "properties": {"id": {"type": "integer"}}}},
            },
        ),
    ],
)
async def test_the_output_schema_is_that_of_the_value(answers: Tools, tool: str, schema: Any) -> None:
    assert answers[tool].output_schema == schema


@pytest.mark.parametrize(
    ("tool", "effect"),
    [("prose", "read"), ("image", "destructive"), ("audio", "idempotent"), ("link", "write"), ("nothing", "write")],
)
async def test_annotations_give_the_effect(answers: Tools, tool: str, effect: str) -> None:
    assert answers[tool].effect == effect


async def test_a_value_that_python_wraps_is_unwrapped(memory: Tools) -> None:
    assert memory["count"].output_schema == {"title": "Result", "type": "integer"}
    assert isinstance(await memory("count"), int)


async def test_half_a_surrogate_pair_is_replaced() -> None:
    async with loaded(own_server("raw", "half_a_pair")) as tools:
        assert await tools("cut") == "cut \N{REPLACEMENT CHARACTER}"


async def test_an_answer_of_any_form_has_been_given() -> None:
    async with loaded(own_server("raw", "odd")) as tools, codemode(tools=tools.loader.tools) as cm:
        assert await tools("another_kind") == ODD["another_kind"]["content"][0]
        assert await tools("video") == ["a", Artifact(b"hi", "video/mp4")]
        assert await tools("no_type") == Artifact(b"hi")
        assert await tools("broken_lines") == IMAGE
        assert await tools("no_content") == {"n": 1}
        assert await tools("list") == [1]
        assert await tools("bad_link") == ODD["bad_link"]["content"][0]
        with pytest.raises(ToolCallError, match="disk full"):
            await tools("failed_kind")
        for name in ("text", "empty", "older", "no_base64"):
            with pytest.raises(UnusableResult) as error:
                await tools(name)
            assert error.value.result == ODD[name]
            # It may have had an effect, which a repaired program must not repeat.
            result = await cm.run_code(TAKE_TEXT.format(name))
            assert result["took_effect"] == ["1.1"]
            assert json.loads(result["output"]) == ODD[name]


async def test_a_large_value_arrives_whole_while_other_calls_go_on(
    memory: Tools, request: pytest.FixtureRequest
) -> None:
    if MAJOR == 2 and request.node.callspec.params["memory"] == "sse":
        pytest.skip("mcp 2 gives up answers of more than 1 MiB over SSE")
    large, small = await asyncio.gather(memory("large", megabytes=8), memory("process"))
    assert len(large) == 8 << 20
    assert isinstance(small, int)
