"""What the model that had code mode do something is told of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from codemode_sandboxes.guest.json_values import to_json

from codemode_graph.calls.occurrences import newest
from codemode_graph.preview import sample, shape
from codemode_graph.result import run_result
from codemode_graph.state import CodeModeState, ToolCall
from codemode_graph.tools.text import one_line

__all__ = ["LIMIT", "answer_text", "artifact_of", "listed", "result_of"]

LIMIT = 20_000
"""Characters of an answer, where nothing else is said."""

_PRINTED = 2000
_CALLS = 30
_READ = 4096
_ARGUMENTS = 200


def answer_text(result: Mapping[str, Any], *, limit: int = LIMIT, advice: str = "") -> str:
    """Tell a model what came of a run.

    Args:
        result: As `CodeMode.run` gives it.
        limit: Characters of the value; a longer one is told by its shape, and cut in a way that says so.
        advice: What to do where it failed.

    Returns:
        The value as JSON; of a run that failed, why, and which calls took effect all the same.
    """
    printed = f"\n\nPrinted:\n{_cut(result['stdout'], _PRINTED)}" if result["stdout"].strip() else ""
    if result["success"]:
        return f"{_value(result['output'], limit)}{printed}"
    return "\n".join(filter(None, [f"It failed: {result['error']}", effects(result["tool_calls"]), advice])) + printed


def result_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the graph gave, as `CodeMode.run` gives it."""
    return dict(run_result(cast("CodeModeState", {**state, "pending": []}), ""))


def artifact_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """A run's result as it is kept with a message: plain data, without what was only read and is large."""
    kept = {key: value for key, value in result.items() if key != "run_id"}
    return {**kept, "tool_calls": [_small(call) for call in result["tool_calls"]]}


def effects(calls: Sequence[ToolCall]) -> str:
    """Tell which calls with an effect were made, so that nobody makes them again."""
    made = [call for call in newest(calls) if call["effect"] != "read"]
    done = [call for call in made if call["status"] == "done"]
    unsure = [call for call in made if call["status"] in ("unknown", "started")]
    lines = [
        f"These calls took effect and stand: {_listed(done)}." if done else "No call took effect.",
        f"These were cut off, and may have taken effect: {_listed(unsure)}." if unsure else "",
    ]
    return " ".join(filter(None, lines))


def listed(names: Sequence[str], *, most: int = 40) -> str:
    """List names of tools, not more than a description needs."""
    shown = ", ".join(one_line(name, 60) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _small(call: ToolCall) -> ToolCall:
    if call["effect"] != "read" or len(json.dumps(call["value"])) <= _READ:
        return call
    return {**call, "value": {"omitted": shape(call["value"])}}


def _listed(calls: Sequence[ToolCall]) -> str:
    shown = [f"{call['tool']}({sample(call['arguments'], limit=_ARGUMENTS)})" for call in calls[:_CALLS]]
    return "; ".join(shown) + (f"; and {len(calls) - _CALLS} more" if len(calls) > _CALLS else "")


def _value(value: Any, limit: int) -> str:
    text = json.dumps(to_json(value, max_bytes=2**62), ensure_ascii=False)
    if len(text) <= limit:
        return text
    head = f"The value has {len(text):,} characters, too many to show. It is {shape(value)}."
    return f"{head} Shown in part:\n{sample(value, limit=limit)}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"
