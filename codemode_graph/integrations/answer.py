"""The answer to a model that called code mode as a tool: a text for it to read, and the whole result for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from codemode_graph.calls.view import standing_effects
from codemode_graph.exact import encode_fields
from codemode_graph.preview import as_text, cut, sample, shape
from codemode_graph.result import run_result
from codemode_graph.state import CodeModeState, ToolCall

LIMIT = 20_000
"""The default limit of an answer, in characters."""

# An answer stays in the conversation for all its later turns, so that each part of it is bounded.
_PRINTED_CHARS = 2000
_ERROR_CHARS = 3000
_LISTED_CALLS = 30
_ARGUMENT_CHARS = 200
_READ_CHARS = 4096
# Providers refuse a message with any other file, and with images of more bytes: the agent could not go on with it.
_SHOWN_FILES = ("application/pdf",)
_SHOWN_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_BLOCK_CHARS = 5_000_000
_BLOCKS_CHARS = 20_000_000


def answer_text(result: Mapping[str, Any], *, limit: int = LIMIT, advice: str = "") -> str:
    """Return the text that a model reads about a run.

    Args:
        result: As `CodeMode.run` returns it.
        limit: The most characters of the value; of a longer one the text has the shape and a part.
        advice: The last line of a failure: what the model should do next.

    Returns:
        The value as JSON, and which calls failed that its program went on without; of a run that failed, the reason, and
        the calls that took effect all the same.
    """
    printed = f"\n\nPrinted:\n{cut(result['stdout'], _PRINTED_CHARS)}" if result["stdout"].strip() else ""
    if result["success"]:
        note = f"\n\nNote: {warning}." if (warning := result.get("warning")) else ""
        return f"{_value(result['output'], limit)}{note}{printed}"
    reason = _cut_inside(str(result["error"]), _ERROR_CHARS)
    return "\n".join(filter(None, [f"It failed: {reason}", effects(result["tool_calls"]), advice])) + printed


def answer_content(result: Mapping[str, Any], text: str) -> str | list[str | dict[Any, Any]]:
    """Return what a model reads as the content of a message: the text, with the images, sounds and files of the value.

    What providers take is shown: PNG, JPEG, GIF and WebP, sounds, PDFs, up to a size. For all else the handle in the text
    stands, and a line says so.
    """
    shown, hidden, room = [], 0, _BLOCKS_CHARS
    for block in result.get("content") or ():
        size = len(block["base64"])
        if not _is_shown(block) or size > min(room, _BLOCK_CHARS):
            hidden += 1
            continue
        room -= size
        shown.append({key: value for key, value in block.items() if key != "id"})
    if hidden:
        text += f"\n\nNot shown: {hidden} of the {hidden + len(shown)} files whose handles are in the value."
    return [{"type": "text", "text": text}, *shown] if shown else text


def _is_shown(block: Mapping[str, Any]) -> bool:
    kinds = {"image": _SHOWN_IMAGES, "file": _SHOWN_FILES}.get(block["type"])
    return kinds is None or block["mime_type"].partition(";")[0].strip().lower() in kinds


def result_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the graph's state in the form in which `CodeMode.run` returns it."""
    return dict(run_result(cast("CodeModeState", {**state, "pending": []}), ""))


def artifact_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a result that is kept with a message: plain data, without large values that were only read."""
    fields = {key: value for key, value in result.items() if key not in ("run_id", "content")}
    # Messages are kept in checkpoints.
    return encode_fields({**fields, "tool_calls": [_small(call) for call in result["tool_calls"]]})


def effects(calls: Sequence[ToolCall]) -> str:
    """Return which calls took effect or may have, so that the model does not ask for them again."""
    standing = standing_effects(calls)
    done = [call for call in standing if call["status"] == "done"]
    unsure = [call for call in standing if call["status"] != "done"]
    lines = [
        f"These calls took effect and stand: {_listed(done)}." if done else "",
        f"These were cut off, and may have taken effect: {_listed(unsure)}." if unsure else "",
    ]
    return " ".join(filter(None, lines)) or "No call took effect."


def _small(call: ToolCall) -> ToolCall:
    if call["effect"] != "read" or len(json.dumps(call["value"])) <= _READ_CHARS:
        return call
    return {**call, "value": {"omitted": shape(call["value"])}}


def _listed(calls: Sequence[ToolCall]) -> str:
    shown = [f"{call['tool']}({sample(call['arguments'], limit=_ARGUMENT_CHARS)})" for call in calls[:_LISTED_CALLS]]
    return "; ".join(shown) + (f"; and {len(calls) - _LISTED_CALLS} more" if len(calls) > _LISTED_CALLS else "")


def _value(value: Any, limit: int) -> str:
    text = as_text(value)
    if len(text) <= limit:
        return text
    head = f"The value has {len(text):,} characters, too many to show. It is {shape(value)}."
    return f"{head} Shown in part:\n{sample(value, limit=limit)}"


def _cut_inside(text: str, limit: int) -> str:
    """Cut a text in its middle: the last words of an error may be the model's, or the cause."""
    half, more = limit // 2, len(text) - limit
    return text if more <= 0 else f"{text[:half]}… ({more} more characters) …{text[-half:]}"
