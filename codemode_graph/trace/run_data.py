"""The data of a run, which the page and the terminal show."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from codemode_graph.exact import decode
from codemode_graph.nodes.causes import unmentioned_failures
from codemode_graph.settings import Prices
from codemode_graph.state import (
    Attempt,
    CodeModeOutput,
    Decision,
    Failure,
    ModelCall,
    PendingCall,
    Prompt,
    ToolCall,
    Verdict,
)

# What is said of the effect of a call that stands, by the call's status.
_EFFECTS = {"done": "took effect", "unknown": "may have taken effect", "started": "may have taken effect"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunData:
    """The data of a run: the fields of `Trace`, which adds the ways to show them."""

    task: str = ""
    verdict: Verdict | None = None
    output: Any = None
    error: Failure | None = None
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    usage: list[ModelCall] = field(default_factory=list)
    pending: list[PendingCall] = field(default_factory=list)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    prices: Prices | None = None
    prompts: list[Prompt] = field(default_factory=list)
    run_id: str = ""
    started: float | None = None
    ended: float | None = None

    @classmethod
    def from_state(cls, state: CodeModeOutput, *, prices: Prices | None = None, run_id: str | None = None) -> Self:
        """Build a trace from the state of a graph.

        Args:
            state: The output of the graph. The `values` of `get_state` have the task, the decisions and the pending
                calls as well.
            prices: The prices of the model.
            run_id: The id that the run is known by; by default that of its journal.
        """
        # An output lacks the keys that only the full state has, and a run that has just begun lacks nearly all.
        values: Mapping[str, Any] = state
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        known |= {"calls": values.get("tool_calls", []), "prompts": decode(values.get("prompts", [])), "prices": prices}
        return cls(**known if run_id is None else {**known, "run_id": run_id})

    @property
    def tokens(self) -> tuple[int, int]:
        """The tokens that the model has read and written."""
        return sum(call["input_tokens"] for call in self.usage), sum(call["output_tokens"] for call in self.usage)

    @property
    def cost(self) -> float | None:
        """The cost of the model so far, in the currency of the prices; None without prices."""
        return None if self.prices is None else self.prices.cost(*self.tokens)

    @property
    def seconds(self) -> float | None:
        """The seconds from the run's begin to its last verdict, waits for people included; None before that."""
        return None if self.started is None or self.ended is None else max(0.0, self.ended - self.started)

    def effects(self) -> list[tuple[str, ToolCall]]:
        """Return the calls whose effects stand, or may stand, each with what is said of it."""
        calls = {call["id"]: call for call in self.calls}.values()
        standing = (call for call in calls if call["effect"] != "read" and "undone" not in call)
        return [(_EFFECTS[call["status"]], call) for call in standing if call["status"] in _EFFECTS]

    def calls_of(self, attempt: Attempt) -> list[ToolCall]:
        """Return the calls of an attempt in order, with those that the journal answered."""
        by_id: dict[str, list[ToolCall]] = {}
        for call in self.calls:
            by_id.setdefault(call["id"], []).append(call)
        # An attempt names a call once for each time it made it; the journal has all records of that call.
        return [call for id in dict.fromkeys(attempt["calls"]) for call in by_id.get(id, [])]

    def remarks(self, *, effects: bool = False) -> list[tuple[str, ToolCall]]:
        """Return the calls that a person should look at, each with the reason.

        Args:
            effects: Return every call whose effect stands, too: a run without an answer may have done half of its task.
        """
        good = self.verdict == "ok" and bool(self.attempts)
        failed = unmentioned_failures(self.attempts[-1], self.calls) if good else []
        found = [("failed, and the program went on", call) for call in failed]
        standing = {call["id"]: word for word, call in self.effects()} if effects else {}
        for call in {call["id"]: call for call in self.calls}.values():
            if call["id"] in self.left_over:
                found.append(("left over", call))
            # That a standing effect was answered needs no look where the run has its answer: it is what a repair is for.
            elif "mark" in call and (effects or call["mark"].startswith("made")):
                found.append(("look at", call))
            elif call["id"] in standing:
                found.append((standing[call["id"]], call))
        return found

    def pending_of(self, attempt: Attempt) -> list[PendingCall]:
        """Return the calls of an attempt that wait for a person: only the last attempt can have any."""
        return self.pending if attempt is self.attempts[-1] else []
