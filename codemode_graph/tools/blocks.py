"""Content blocks of LangChain messages as values."""

import json
from typing import Any

__all__ = ["from_blocks", "is_text_block", "parse_json"]


def from_blocks(content: Any) -> Any:
    """Give the content blocks of a message as values, one alone or a list of several; anything else as it is."""
    if not isinstance(content, list) or not all(isinstance(block, dict) and "type" in block for block in content):
        return content
    values = [_from_block(block) for block in content]
    return values[0] if len(values) == 1 else values or None


def _from_block(block: dict[str, Any]) -> Any:
    if is_text_block(block):
        return parse_json(block["text"])
    # LangChain gives blocks random ids; a value that differs from call to call is of no use to a program.
    return {key: value for key, value in block.items() if key != "id" or not str(value).startswith("lc_")}


def is_text_block(block: object) -> bool:
    """Whether a content block is text and nothing else."""
    return (
        isinstance(block, dict)
        and block.get("type") == "text"
        and isinstance(block.get("text"), str)
        and block.keys() <= {"type", "text", "id", "index", "annotations", "extras"}
    )


def parse_json(text: str) -> Any:
    """Parse text that is a JSON object or array; give any other as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
