"""Results of MCP tools as plain values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    Tool,
)

from codemode_graph.errors import ToolCallError, UnusableResult
from codemode_graph.mcp_sdk import field
from codemode_graph.tools.artifacts import artifact_of_block
from codemode_graph.tools.results import one_or_all, parse_json, parts_beside, with_parts
from codemode_graph.tools.spec import Effect, effect_from_hints

__all__ = ["effect_of", "output_schema_of", "value_of"]


def value_of(result: CallToolResult, *, tool: Tool) -> Any:
    """Return the value in a tool's answer.

    Structured content wins; where the tool's schema is a mere wrapper (see `output_schema_of`) it is unwrapped. Without
    it, no content is None, one part is its value, several are a list of values. A text that is a JSON object or array is
    parsed; any other text stays, `123`, `true` or `"x"` too. Images, audio and resources of bytes are `Artifact`s; links and
    resources of text are dicts as in the protocol.

    What an answer has beside that is kept: the parts of the content that do not repeat the structured content, a list under
    `_content`, and the server's `_meta`, under that name. They are further keys of a value that is a dict; any other value
    is `{"result": value}` then.

    Args:
        result: The answer.
        tool: The tool that answered, as its server lists it.

    Raises:
        ToolCallError: The answer says that the tool failed; the message is its text, then its structured content as JSON.
    """
    if field(result, "isError"):
        raise ToolCallError(_error_text(result) or f"{tool.name} failed and did not say why")
    structured = field(result, "structuredContent")
    parts = [(_part(part), part.text if isinstance(part, TextContent) else None) for part in result.content]
    if structured is None:
        value: Any = one_or_all([part for part, _ in parts])
        beside = []
    else:
        value = structured["result"] if _is_wrapped(tool) and structured.keys() == {"result"} else structured
        beside = parts_beside(structured, parts)
    # What the library of a server notes for clients of its own says nothing of the answer.
    meta = {key: item for key, item in (result.meta or {}).items() if key not in ("fastmcp", "_fastmcp")}
    return with_parts(value, beside, meta)


def output_schema_of(tool: Tool) -> Mapping[str, Any] | None:
    """Return the JSON Schema of the values that `value_of` returns, or None where it is not known.

    MCP wants structured content to be an object, so Python servers wrap everything else as `{"result": value}`. A
    schema whose only property is a required `result`, or that FastMCP marks, counts as such a wrapper.
    """
    schema: Mapping[str, Any] | None = field(tool, "outputSchema")
    if schema is None or not _is_wrapped(tool):
        return schema
    inner = {**schema["properties"]["result"]}
    definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    # A reference to any other place in the wrapper would point nowhere once the wrapper is gone.
    if not all(ref.startswith(("#/$defs/", "#/definitions/")) for ref in _references([inner, definitions])):
        return None
    return inner | definitions


def effect_of(tool: Tool) -> Effect | None:
    """Return the effect in a tool's annotations; None where they say nothing."""
    # MCP's default for `destructiveHint` is true. Here an unset hint counts as "write": it says nothing about the tool.
    hints = tool.annotations
    if hints is None:
        return None
    return effect_from_hints(
        read_only=field(hints, "readOnlyHint"),
        destructive=field(hints, "destructiveHint"),
        idempotent=field(hints, "idempotentHint"),
    )


def _is_wrapped(tool: Tool) -> bool:
    schema = field(tool, "outputSchema") or {}
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not isinstance(properties.get("result"), Mapping):
        return False
    marked = schema.get("x-fastmcp-wrap-result") is True
    return marked or (properties.keys() == {"result"} and schema.get("required") == ["result"])


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(ref := schema.get("$ref"), str):
            yield ref
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _part(part: ContentBlock) -> Any:
    if isinstance(part, TextContent):
        return parse_json(part.text)
    if isinstance(part, ImageContent | AudioContent):
        return artifact_of_block(part.model_dump(by_alias=True)) or _broken(part)
    if isinstance(part, EmbeddedResource) and isinstance(part.resource, BlobResourceContents):
        return artifact_of_block(part.resource.model_dump(mode="json", by_alias=True)) or _broken(part)
    return part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"annotations", "meta"})


def _broken(part: ContentBlock) -> Any:
    raise UnusableResult("the answer holds data that are no base64", part.model_dump(mode="json", by_alias=True))


def _error_text(result: CallToolResult) -> str:
    texts = [part.text for part in result.content if isinstance(part, TextContent) and part.text.strip()]
    structured = field(result, "structuredContent")
    if structured and not any(parse_json(text) == structured for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(texts)
