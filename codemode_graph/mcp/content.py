"""Results of MCP tools as plain values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp.types import CallToolResult, ContentBlock, TextContent, Tool

from codemode_graph.errors import ToolCallError
from codemode_graph.tools.results import one_or_all, parse_json
from codemode_graph.tools.spec import Effect, effect_from_hints

__all__ = ["effect_of", "output_schema_of", "value_of"]


def value_of(result: CallToolResult, *, tool: Tool) -> Any:
    """Return the value in a tool's answer.

    Structured content wins; where the tool's schema is a mere wrapper (see `output_schema_of`) it is unwrapped. Without
    it, no content is None, one part is its value, several are a list of values. A text that is a JSON object or array is
    parsed; any other text stays, `123`, `true` or `"x"` too. Images, audio and resources are dicts as in the protocol:
    `{"type": "image", "mimeType": ..., "data": ...}`.

    Args:
        result: The answer.
        tool: The tool that answered, as its server lists it.

    Raises:
        ToolCallError: The answer says that the tool failed; the message is its text.
    """
    if result.isError:
        raise ToolCallError(_error_text(result) or f"{tool.name} failed and did not say why")
    structured = result.structuredContent
    if structured is not None:
        return structured["result"] if _is_wrapped(tool) and structured.keys() == {"result"} else structured
    return one_or_all([_part(part) for part in result.content])


def output_schema_of(tool: Tool) -> Mapping[str, Any] | None:
    """Return the JSON Schema of the values that `value_of` returns, or None where it is not known.

    MCP wants structured content to be an object, so Python servers wrap everything else as `{"result": value}`. A
    schema whose only property is a required `result`, or that FastMCP marks, counts as such a wrapper.
    """
    schema = tool.outputSchema
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
        read_only=hints.readOnlyHint,
        destructive=hints.destructiveHint,
        idempotent=hints.idempotentHint,
    )


def _is_wrapped(tool: Tool) -> bool:
    schema = tool.outputSchema or {}
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
    return part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"annotations", "meta"})


def _error_text(result: CallToolResult) -> str:
    texts = [part.text for part in result.content if isinstance(part, TextContent) and part.text.strip()]
    if not texts and result.structuredContent:
        return json.dumps(result.structuredContent, ensure_ascii=False)
    return "\n".join(texts)
