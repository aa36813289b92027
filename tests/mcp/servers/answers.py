"""A server whose tools answer in every shape that an answer can have."""

from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import McpError
from mcp.types import (
    Annotations,
    AudioContent,
    BlobResourceContents,
    CallToolRequest,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ErrorData,
    ImageContent,
    ResourceLink,
    ServerResult,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from pydantic import AnyUrl

from tests.mcp.servers.transport import run

server: Server = Server("answers")


def text(value: str) -> TextContent:
    return TextContent(type="text", text=value)


def gives(*content: ContentBlock, structured: Any = None, error: bool = False) -> CallToolResult:
    return CallToolResult(content=list(content), structuredContent=structured, isError=error)


WRAPPED = {"type": "object", "properties": {"result": {"type": "array"}}, "required": ["result"]}
MARKED = {"type": "object", "properties": {"result": {"type": "integer"}}, "x-fastmcp-wrap-result": True}
OWN_RESULT = {"type": "object", "properties": {"result": {"type": "string"}, "took": {"type": "number"}}}
ROWS = {
    "type": "object",
    "properties": {"result": {"type": "array", "items": {"$ref": "#/$defs/Row"}}},
    "required": ["result"],
    "$defs": {"Row": {"type": "object", "properties": {"id": {"type": "integer"}}}},
}
NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
IMAGE = ImageContent(type="image", data="aGk=", mimeType="image/png")

ANSWERS: dict[str, CallToolResult] = {
    "nothing": gives(),
    "prose": gives(text("three files")),
    "number_text": gives(text("123")),
    "quoted_text": gives(text('"quoted"')),
    "json_object": gives(text(' {"a": [1, null]}')),
    "json_array": gives(text("[1, 2]")),
    "python_repr": gives(text("[{'id': 1}]")),
    "deep": gives(text("[" * 100_000)),
    "two_texts": gives(text("one"), text('{"two": 2}')),
    "text_and_image": gives(text("a picture"), IMAGE),
    "image": gives(IMAGE),
    "audio": gives(AudioContent(type="audio", data="aGk=", mimeType="audio/wav")),
    "link": gives(ResourceLink(type="resource_link", uri=AnyUrl("file:///a.txt"), name="a.txt")),
    "resource": gives(
        EmbeddedResource(
            type="resource",
            resource=TextResourceContents(uri=AnyUrl("file:///a.txt"), mimeType="text/plain", text="hello"),
        )
    ),
    "structured": gives(text("other words"), structured={"content": "text"}),
    "wrapped": gives(text("1"), text("2"), structured={"result": [1, 2]}),
    "marked": gives(text("7"), structured={"result": 7}),
    "own_result": gives(structured={"result": "x", "took": 0.5}),
    "rows": gives(structured={"result": [{"id": 1}]}),
    "encoded_twice": gives(structured={"result": '{"rows": []}', "took": 1}),
    "against_its_schema": gives(structured={"n": "not a number"}),
    "schema_but_text": gives(text('{"n": 1}')),
    "structured_and_more": CallToolResult(
        content=[text('{"n": 1}'), IMAGE],
        structuredContent={"n": 1},
        _meta={"cursor": "next", "fastmcp": {"wrap_result": True}},
    ),
    "number_and_more": CallToolResult(content=[IMAGE], structuredContent={"n": 1}, _meta={"next": 2}),
    "list_and_more": gives(text("1"), text("2"), IMAGE, structured={"result": [1, 2]}),
    "blob": gives(
        EmbeddedResource(
            type="resource",
            resource=BlobResourceContents(uri=AnyUrl("file:///a.pdf"), mimeType="application/pdf", blob="JVBERg=="),
        )
    ),
    "parts_with_meta": gives(
        TextContent(type="text", text="a", _meta={"next": 2}),
        TextContent(type="text", text='{"n": 1}', _meta={"next": 3}),
    ),
    "data_with_meta": gives(ImageContent(type="image", data="aGk=", mimeType="image/png", _meta={"width": 1})),
    "repeated_with_meta": gives(TextContent(type="text", text='{"n": 1}', _meta={"next": 2}), structured={"n": 1}),
    "link_in_full": gives(
        ResourceLink(
            type="resource_link",
            uri=AnyUrl("file:///a.txt"),
            name="a.txt",
            size=5,
            annotations=Annotations(audience=["user"]),
            _meta={"etag": "x"},
        )
    ),
    "own_keys": CallToolResult(
        content=[text("more")], structuredContent={"_content": "own", "_meta": "own"}, _meta={"next": 2}
    ),
    "no_data": gives(ImageContent(type="image", data="", mimeType="image/png")),
    "failed_with_parts": CallToolResult(
        content=[
            IMAGE,
            EmbeddedResource(
                type="resource", resource=TextResourceContents(uri=AnyUrl("file:///log"), text="disk full")
            ),
            ResourceLink(type="resource_link", uri=AnyUrl("file:///x"), name="x"),
        ],
        isError=True,
        _meta={"retry": 30},
    ),
    "failed": gives(text("no such file: x"), text("look again"), error=True),
    "failed_structured": gives(structured={"code": 4}, error=True),
    "failed_with_both": gives(text("no such file"), structured={"code": 4}, error=True),
    "failed_silently": gives(error=True),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "wrapped": WRAPPED,
    "marked": MARKED,
    "own_result": OWN_RESULT,
    "rows": ROWS,
    "list_and_more": WRAPPED,
    "number_and_more": NUMBER,
    "encoded_twice": OWN_RESULT,
    "against_its_schema": NUMBER,
    "schema_but_text": NUMBER,
}
HINTS = {
    "prose": ToolAnnotations(readOnlyHint=True),
    "image": ToolAnnotations(readOnlyHint=False, destructiveHint=True, idempotentHint=True),
    "audio": ToolAnnotations(destructiveHint=False, idempotentHint=True),
    "link": ToolAnnotations(title="A link"),
}
ANYTHING = {"type": "object", "additionalProperties": True}


@server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
async def list_tools() -> list[Tool]:
    names = [*ANSWERS, "arguments/of-a.call", "refused"]
    return [
        Tool(
            name=name,
            description=f"Gives {name}.",
            inputSchema=ANYTHING,
            outputSchema=SCHEMAS.get(name),
            annotations=HINTS.get(name),
        )
        for name in names
    ]


async def call_tool(name: str, arguments: dict[str, Any]) -> CallToolResult:
    if name == "arguments/of-a.call":
        return gives(structured={"arguments": arguments})
    if name == "refused":
        raise McpError(ErrorData(code=-32602, message="there is no parameter 'x'"))
    return ANSWERS[name]


async def handle(request: CallToolRequest) -> ServerResult:
    return ServerResult(await call_tool(request.params.name, request.params.arguments or {}))


if __name__ == "__main__":
    # Not `@server.call_tool()`: it mends answers that break the rules, and makes results of protocol errors.
    server.request_handlers[CallToolRequest] = handle
    run(server)
