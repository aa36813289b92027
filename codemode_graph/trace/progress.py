"""Telling a person what a run does, while it does it."""

from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from rich.console import Console
from rich.text import Text

from codemode_graph.events import (
    AttemptEvent,
    CallAnsweredEvent,
    CallFinishedEvent,
    CallPendingEvent,
    CallStartedEvent,
    CheckEvent,
    Event,
    ModelEvent,
    OutcomeEvent,
    SandboxEvent,
    StdoutEvent,
    read_event,
)
from codemode_graph.metrics import Metrics, metrics_box
from codemode_graph.preview import sample
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import Underway, numbered, say

__all__ = ["Progress", "Watcher", "follow"]


class Watcher(Protocol):
    """Is told what a run does, while it does it."""

    def show(self, event: Event) -> None:
        """Take what is told next."""

    def stop(self) -> None:
        """The run has stopped: it has ended, or it waits for a person."""

    def end(self, used: Metrics) -> None:
        """The run has ended, and this is what it used."""


async def follow(
    graph: CompiledStateGraph[Any, Any, Any, Any], given: Any, config: RunnableConfig, watcher: Watcher | None
) -> None:
    """Run a graph, and show a watcher its events. What tools of their own write to the stream is passed over."""
    if watcher is None:  # then a call costs a tenth less: nobody has to be woken for its events
        await graph.ainvoke(given, config)
        return
    async for item in graph.astream(given, config, stream_mode="custom"):
        if (event := read_event(item)) is not None:
            watcher.show(event)


class Progress:
    """Writes a line an event. On a terminal, what is not done yet stands below them with the time it has taken.

    Args:
        console: Where to; stderr by default.
        programs: Show each program as it runs.
    """

    def __init__(self, console: Console | None = None, *, programs: bool = True) -> None:
        self.console = console or Console(stderr=True)
        self._programs = programs
        self._underway = Underway(self.console)
        self._calls: dict[str, str] = {}
        self._told = ""

    def show(self, event: Event) -> None:
        """Show what is told next."""
        getattr(self, f"_{event['type']}")(event)

    def end(self, used: Metrics) -> None:
        """Show what the run used, if it came to use anything."""
        self.stop()
        if used["total_executions"] or used["total_tokens"]:
            self.console.print(metrics_box(used))

    def stop(self) -> None:
        """Leave nothing on the terminal that is not done."""
        self._underway.stop()
        self._calls.clear()

    def _line(self, mark: str, text: str, style: str = "dim") -> None:
        say(self.console, text, prefix=f"  {mark} ", style=style)

    def _attempt(self, event: AttemptEvent) -> None:
        number = event["number"]
        title = f"Attempt {number}" if number == 1 else f"Attempt {number}: repair"
        self.console.print(Text(f"\n{title}", style="bold"))
        self._underway.begin("model", "the model writes a program")

    def _model(self, event: ModelEvent) -> None:
        self._underway.end("model")
        if event["error"] is not None:
            self._underway.stop()
            self._line("✗", event["error"], "red")
            return
        tokens = f"{event['input_tokens']} tokens in, {event['output_tokens']} out"
        self._line("·", f"{event['model']} answered in {event['seconds']:.1f} s ({tokens})")
        if event["thoughts"]:
            self._line("·", one_line(event["thoughts"], 400))

    def _check(self, event: CheckEvent) -> None:
        self._underway.end("model")
        if self._programs and event["program"].strip():
            numbered(self.console, event["program"].strip("\n"))
        for fix in event["fixes"]:
            self._line("~", f"fixed: {fix}", "yellow")
        for finding in event["findings"]:
            where = f"line {finding['line']}: " if finding["line"] else ""
            self._line("✗", f"check: {where}{finding['message']}", "red")
        if not event["findings"]:
            self._line("✓", "checked", "green")
            self._underway.begin("program", "the program runs")

    def _sandbox(self, event: SandboxEvent) -> None:
        lacks = [f"{each['name']} lacks {', '.join(each['lacks'])}" for each in event["passed_over"] if each["lacks"]]
        if event["warning"] is not None:
            self._line("!", event["warning"], "yellow")
        elif event["name"] is not None:
            self._line("·", f"runs in {event['name']}" + (f": {'; '.join(lacks)}" if lacks else ""))
        else:
            for each in event["passed_over"]:
                if not each["lacks"]:
                    remedy = f". {each['remedy']}" if each["remedy"] else ""
                    self._line("!", f"{each['name']} cannot be used: {each['reason']}{remedy}", "yellow")

    def _call_answered(self, event: CallAnsweredEvent) -> None:
        self._line("=", f"{event['tool']} answered from the journal (call {event['id']}), not run again", "cyan")

    def _call_pending(self, event: CallPendingEvent) -> None:
        self._line("?", f"{_call(event)} waits for a person", "yellow")

    def _call_started(self, event: CallStartedEvent) -> None:
        self._calls[event["id"]] = _call(event)
        self._underway.end("program")
        self._underway.begin(event["id"], _call(event))

    def _call_finished(self, event: CallFinishedEvent) -> None:
        self._underway.end(event["id"])
        self._calls.pop(event["id"], None)
        if not self._calls:
            self._underway.begin("program", "the program runs")
        line = f"{_call(event)} {_time(event['seconds'])}"
        if event["error"] is None:
            self._line("→", line, "green")
        else:
            self._told = f"{event['error']['type']}: {event['error']['message']}"
            self._line("→", f"{line} {self._told}", "red")

    def _stdout(self, event: StdoutEvent) -> None:
        for line in event["text"].splitlines():
            self._line("|", line)

    def _outcome(self, event: OutcomeEvent) -> None:
        self._underway.stop()
        for call in self._calls.values():
            self._line("→", f"{call} was given up", "yellow")
        self._calls.clear()
        error = event["error"]
        if event["verdict"] == "ok":
            self._line("✓", "done", "green")
        elif error is not None and error["kind"] == "empty":
            self._line("✗", error["message"], "yellow")
        elif error is not None and error["kind"] != "check":
            where = f"line {error['line']}: " if error["line"] else ""
            text = f"{error['type']}: {error['message']}"
            self._line("✗", f"{where}{text if text != self._told else 'this error ended the program'}", "red")


def _call(event: CallStartedEvent | CallFinishedEvent | CallPendingEvent) -> str:
    arguments = ", ".join(f"{name}={sample(value, limit=60)}" for name, value in event["arguments"].items())
    return f"{event['tool']}({arguments})"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
