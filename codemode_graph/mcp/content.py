"""Results of MCP tools as plain values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp.types import Tool

from codemode_graph.errors import ToolCallError, UnusableResult
from codemode_graph.mcp_sdk import field
from codemode_graph.tools.artifacts import artifact_of_block
from codemode_graph.tools.results import one_or_all, parse_json, parts_beside, with_parts
from codemode_graph.tools.spec import Effect, effect_from_hints


def value_of(answer: Mapping[str, Any], *, tool: Tool) -> Any:
    """Return the value in a tool's answer.

    Structured content wins; where the tool's schema is a mere wrapper (see `output_schema_of`) it is unwrapped. Without
    it, no content is None, one part is its value, several are a list of values. A text that is a JSON object or array is
    parsed; any other text stays, `123`, `true` or `"x"` too. Images, audio and resources of bytes are `Artifact`s; links,
    resources of text and parts of kinds that are not known here are dicts as in the protocol.

    What an answer has beside that is kept: the parts of the content that do not repeat the structured content, a list under
    `_content`, and the server's `_meta`, under that name. They are further keys of a value that is a dict without such
    keys; any other value is `{"result": value}` then. So is a text or an artifact whose part has a `_meta` of its own.

    Args:
        answer: The answer, as the server sent it.
        tool: The tool that answered, as its server lists it.

    Raises:
        ToolCallError: The answer says that the tool failed; the message has its parts, its structured content and `_meta`.
        UnusableResult: It is not in the form of a tool's result, or its data are no base64. The call was made all the same.
    """
    content, structured = answer.get("content"), answer.get("structuredContent")
    if answer.get("isError"):
        raise ToolCallError(_error_text(answer) or f"{tool.name} failed and did not say why")
    if content is None and structured is not None:
        content = []  # the protocol asks for a list, and some servers leave out an empty one
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise UnusableResult("the answer is not in the form of a tool's result", answer)
    # A text with a `_meta` of its own is kept, though it may repeat the structured content.
    parts = [(_part(part, answer), None if _meta(part) else _text_of(part)) for part in content]
    if structured is None:
        value: Any = one_or_all([part for part, _ in parts])
        beside = []
    else:
        wrapped = _is_wrapped(tool) and isinstance(structured, dict) and structured.keys() == {"result"}
        value = structured["result"] if wrapped else structured
        beside = parts_beside(structured, parts)
    return with_parts(value, beside, _meta(answer))


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


def _part(part: Mapping[str, Any], answer: Mapping[str, Any]) -> Any:
    if (text := _text_of(part)) is not None:
        return with_parts(parse_json(text), [], _meta(part))
    data = _data_of(part)
    if data is None:
        return part
    if (artifact := artifact_of_block(data)) is None:
        raise UnusableResult("the answer holds data that are no base64", answer)
    return with_parts(artifact, [], _meta(part) | _meta(data))


def _data_of(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the object that holds the data of a part, also of a kind to come; None where it has none."""
    resource = part.get("resource")
    if isinstance(resource, dict) and "blob" in resource:
        return resource
    return part if part.get("type") in ("image", "audio") or {"data", "mimeType"} <= part.keys() else None


def _text_of(part: Any) -> str | None:
    """Return the text of a part that is one."""
    if not isinstance(part, dict) or part.get("type") != "text":
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def _meta(place: Mapping[str, Any]) -> dict[str, Any]:
    found = place.get("_meta")
    # What the library of a server notes for clients of its own says nothing of the answer.
    own = ("fastmcp", "_fastmcp")
    return {key: item for key, item in found.items() if key not in own} if isinstance(found, dict) else {}


def _error_text(answer: Mapping[str, Any]) -> str:
    """Return all that an answer says of an error, data aside: an exception has a text alone."""
    content, structured, meta = answer.get("content"), answer.get("structuredContent"), _meta(answer)
    texts = [_as_words(part) for part in (content if isinstance(content, list) else [content])]
    if structured and not any(parse_json(text) == structured for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    if meta:
        texts.append(json.dumps({"_meta": meta}, ensure_ascii=False))
    return "\n".join(text for text in texts if text.strip())


def _as_words(part: Any) -> str:
    if not isinstance(part, dict):
        return "" if part is None else str(part)
    if (text := _text_of(part)) is not None:
        return text
    if (data := _data_of(part)) is not None and (artifact := artifact_of_block(data)) is not None:
        return repr(artifact)
    resource = part.get("resource")
    if isinstance(resource, dict) and isinstance(resource.get("text"), str):
        return f"{resource.get('uri', '')}: {resource['text']}"
    return json.dumps(part, ensure_ascii=False)
