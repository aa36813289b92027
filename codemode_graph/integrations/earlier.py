"""What programs of an agent did that failed, for the program that repairs them."""

from collections import Counter
from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from codemode_graph.calls.occurrences import call_digest, newest
from codemode_graph.state import ToolCall

__all__ = ["earlier_calls"]


def earlier_calls(messages: Sequence[AnyMessage], tool: str, call_id: str | None) -> list[ToolCall]:
    """Give the calls of the programs that a new program repairs: those of the last turn that ran any, where they failed.

    Args:
        messages: The agent's. What was before the newest message of a person is over.
        tool: The name of the tool that runs programs.
        call_id: Of the call that runs the new program.

    Returns:
        Their calls with an effect, as of one attempt before the first. Where two programs made the same call, it is there
        twice, and so it is answered twice before it is made again.
    """
    told: dict[str, ToolMessage] = {}
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, ToolMessage):
            told[message.tool_call_id] = message
        elif isinstance(message, AIMessage):
            ids = [call["id"] for call in message.tool_calls if call["name"] == tool]
            if call_id in ids:  # Programs of one turn do not repair each other.
                continue
            if ran := [told[id] for id in ids if id in told and _journal(told[id]) is not None]:
                return _joined([_journal(each) or [] for each in ran if each.status == "error"])
    return []


def _journal(message: ToolMessage) -> list[ToolCall] | None:
    """The calls of the program that a message tells of; None where none ran."""
    journal = message.artifact.get("tool_calls") if isinstance(message.artifact, dict) else None
    return journal if isinstance(journal, list) else None


def _joined(journals: Sequence[Sequence[ToolCall]]) -> list[ToolCall]:
    occurrences: Counter[tuple[str, str]] = Counter()
    joined: list[ToolCall] = []
    inherited: set[tuple[str, str, float]] = set()
    for journal in journals:
        for record in newest(record for record in journal if record["effect"] != "read"):
            if record["attempt"] == 0:
                if (same := (record["id"], record["key"], record["started"])) in inherited:
                    continue  # programs that repaired the same one side by side both have what it did
                inherited.add(same)
            digest = call_digest(record["key"])
            occurrences[record["tool"], digest] += 1
            kept = record.copy()
            kept["key"] = f"{record['tool']}#{occurrences[record['tool'], digest]}:{digest}"
            kept["id"], kept["attempt"] = f"0.{len(joined) + 1}", 0
            for name in ("answered", "decision", "disproved", "updates"):
                kept.pop(name, None)  # type: ignore[misc]
            if "edited" in kept:
                kept["edited"] = f"earlier {kept['id']}"  # a decision of that name may be about another call here
            joined.append(kept)
    return joined
