"""The record of a run, as people look at it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import RenderableType

from codemode_graph.settings import Prices
from codemode_graph.state import (
    Attempt,
    CodeModeOutput,
    Decision,
    Failure,
    ModelCall,
    PendingCall,
    ToolCall,
    Verdict,
)
from codemode_graph.trace.html import fragment, page
from codemode_graph.trace.plaintext import plain, renderable

__all__ = ["Trace"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trace:
    """All that happened in a run.

    It shows itself: in a notebook, in a terminal, and as a page of its own (`save`). What the state masks is masked here.

    Attributes:
        task: What was to be done; empty where a program was given.
        verdict: What came of it; None of a run that is not over.
        output: The program's value.
        error: Why there is none.
        attempts: The programs, and what came of each.
        calls: The journal.
        usage: The model's calls.
        pending: Calls that wait for a person.
        decisions: What people decided, by `PendingCall.key`.
        prices: What the model costs; None where it is not known.
    """

    task: str = ""
    verdict: Verdict | None = None
    output: Any = None
    error: Failure | None = None
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    usage: list[ModelCall] = field(default_factory=list)
    pending: list[PendingCall] = field(default_factory=list)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    prices: Prices | None = None

    @classmethod
    def from_state(cls, state: CodeModeOutput, *, prices: Prices | None = None) -> Self:
        """Read a graph's state.

        Args:
            state: What the graph gave, or, with the task, the people's decisions and what waits as well, the `values` of
                `get_state`.
            prices: What the model costs.
        """
        given: Mapping[str, Any] = state
        return cls(
            task=given.get("task", ""),
            verdict=given.get("verdict"),
            output=given.get("output"),
            error=given.get("error"),
            attempts=given.get("attempts", []),
            calls=given.get("tool_calls", []),
            usage=given.get("usage", []),
            pending=given.get("pending", []),
            decisions=given.get("decisions", {}),
            prices=prices,
        )

    @property
    def cost(self) -> float | None:
        """What the model has cost, in the currency of the prices; None without prices."""
        if self.prices is None:
            return None
        read, written = (sum(call[key] for call in self.usage) for key in ("input_tokens", "output_tokens"))
        return (read * self.prices.input + written * self.prices.output) / 1_000_000

    def made(self, attempt: Attempt) -> list[ToolCall]:
        """The calls of an attempt, in order, those that were answered from the journal included."""
        by_id: dict[str, list[ToolCall]] = {}
        for call in self.calls:
            by_id.setdefault(call["id"], []).append(call)
        return [call for id in dict.fromkeys(attempt["calls"]) for call in by_id.get(id, [])]

    def html(self) -> str:
        """The run as one page that needs nothing else: no script, no other file, no network."""
        return page(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            OSError: It cannot be written.
        """
        Path(path).write_text(self.html(), encoding="utf-8")

    def _repr_html_(self) -> str:
        return fragment(self)

    def __rich__(self) -> RenderableType:
        return renderable(self)

    def __str__(self) -> str:
        return plain(self)

    __repr__ = __str__
