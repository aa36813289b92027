"""Previews of a value for a model, bounded in length: its shape, and a sample that keeps its structure."""

import json
from typing import Any

from codemode_graph.exact import decode

_MAX_KEYS = 30


def as_text(value: Any) -> str:
    """Return a value as JSON for a model or a person, in the exact form or not: `[NaN, 18446744073709551616]`.

    NaN and the infinities are written as Python's `json` does, NUL as `\\u0000` and lone surrogates as `\\ud800`: the text
    can be sent as UTF-8.
    """
    text = json.dumps(decode(value), ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def shape(value: Any, *, depth: int = 4) -> str:
    """Describe a JSON value by its types, with real keys: `list of 12 {id: int, title: str}`.

    Args:
        value: Any JSON value.
        depth: Levels to describe; deeper ones are `...`.
    """
    value = decode(value)
    if isinstance(value, dict):
        if depth == 0:
            return "{...}"
        fields = [f"{key}: {shape(item, depth=depth - 1)}" for key, item in list(value.items())[:_MAX_KEYS]]
        more = [f"... {len(value) - _MAX_KEYS} more keys"] if len(value) > _MAX_KEYS else []
        return "{" + ", ".join(fields + more) + "}"
    if isinstance(value, list):
        if not value:
            return "empty list"
        if depth == 0:
            return f"list of {len(value)}"
        kinds = list(dict.fromkeys(shape(item, depth=depth - 1) for item in value[:20]))
        return f"list of {len(value)} {' | '.join(kinds[:3])}{' | ...' if len(kinds) > 3 else ''}"
    return "None" if value is None else type(value).__name__


def sample(value: Any, *, limit: int = 600) -> str:
    """Render a JSON value within `limit` characters, cutting long lists and texts rather than the JSON itself.

    A note stands where something is cut, so that a model does not take a part for the whole.
    """
    value = decode(value)
    for items, characters in ((50, 400), (10, 200), (3, 100), (2, 60), (1, 30)):
        text = as_text(_cut(value, items, characters))
        if len(text) <= limit:
            return text
    return f"{text[:limit]} … (cut)"


def cut(text: str, limit: int) -> str:
    """Return a text, of one that is longer than `limit` characters its beginning and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def _cut(value: Any, items: int, characters: int) -> Any:
    if isinstance(value, str):
        return cut(value, characters)
    if isinstance(value, list):
        items_shown = [_cut(item, items, characters) for item in value[:items]]
        return items_shown if len(value) <= items else [*items_shown, f"… {len(value) - items} more items"]
    if isinstance(value, dict):
        limit = max(items, 8)
        keys_shown = {key: _cut(item, items, characters) for key, item in list(value.items())[:limit]}
        return keys_shown if len(value) <= limit else {**keys_shown, "…": f"{len(value) - limit} more keys"}
    return value
