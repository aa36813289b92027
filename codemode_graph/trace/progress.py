"""Show a person what a run does, while it runs."""

from rich.console import Console
from rich.text import Text

from codemode_graph import events
from codemode_graph.metrics import Metrics, metrics_box
from codemode_graph.preview import sample
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import LiveView, print_program, say
from codemode_graph.trace.words import at_line, format_seconds

__all__ = ["Progress"]


class Progress:
    """Prints a line for each event. On a terminal, open calls stand below the lines, each with its time so far.

    Args:
        console: The terminal or file; stderr by default.
        programs: Show each program before it runs.
    """

    def __init__(self, console: Console | None = None, *, programs: bool = True) -> None:
        self.console = console or Console(stderr=True)
        self._programs = programs
        self._live = LiveView(self.console)
        self._calls: dict[str, str] = {}
        self._last_error = ""

    def show(self, event: events.Event) -> None:
        """Print an event."""
        getattr(self, f"_{event['type']}")(event)  # a method for each type of `Event`

    def end(self, used: Metrics) -> None:
        """Print the metrics of the run, unless it used nothing."""
        self.stop()
        if used["total_executions"] or used["total_tokens"]:
            self.console.print(metrics_box(used))

    def stop(self) -> None:
        """Remove the live lines, and forget the open calls."""
        self._live.stop()
        self._calls.clear()

    def _line(self, mark: str, text: str, style: str = "dim") -> None:
        say(self.console, text, prefix=f"  {mark} ", style=style)

    def _attempt(self, event: events.AttemptEvent) -> None:
        number = event["number"]
        title = f"Attempt {number}" if number == 1 else f"Attempt {number}: repair"
        self.console.print(Text(f"\n{title}", style="bold"))
        self._live.begin("model", "the model writes a program")

    def _model(self, event: events.ModelEvent) -> None:
        self._live.end("model")
        if event["error"] is not None:
            self._live.stop()
            self._line("✗", event["error"], "red")
            return
        tokens = f"{event['input_tokens']} tokens in, {event['output_tokens']} out"
        self._line("·", f"{event['model']} answered in {event['seconds']:.1f} s ({tokens})")
        if event["thoughts"]:
            self._line("·", one_line(event["thoughts"], 400))

    def _check(self, event: events.CheckEvent) -> None:
        self._live.end("model")  # a program of the caller's own has no model event that would end it
        if self._programs and event["program"].strip():
            print_program(self.console, event["program"].strip("\n"))
        for fix in event["fixes"]:
            self._line("~", f"fixed: {fix}", "yellow")
        for finding in event["findings"]:
            self._line("✗", f"check: {at_line(finding['line'])}{finding['message']}", "red")
        if not event["findings"]:
            self._line("✓", "checked", "green")
            self._live.begin("program", "the program runs")

    def _sandbox(self, event: events.SandboxEvent) -> None:
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

    def _call_answered(self, event: events.CallAnsweredEvent) -> None:
        self._line("=", f"{event['tool']} answered from the journal (call {event['id']}), not run again", "cyan")

    def _call_pending(self, event: events.CallPendingEvent) -> None:
        self._line("?", f"{_call(event)} waits for a person", "yellow")

    def _call_started(self, event: events.CallStartedEvent) -> None:
        self._calls[event["id"]] = _call(event)
        self._live.end("program")
        self._live.begin(event["id"], _call(event))

    def _call_finished(self, event: events.CallFinishedEvent) -> None:
        self._live.end(event["id"])
        self._calls.pop(event["id"], None)
        if not self._calls:  # the program has no open call: it computes
            self._live.begin("program", "the program runs")
        line = f"{_call(event)} {format_seconds(event['seconds'])}"
        if event["error"] is None:
            self._line("→", line, "green")
        else:
            self._last_error = f"{event['error']['type']}: {event['error']['message']}"
            self._line("→", f"{line} {self._last_error}", "red")

    def _stdout(self, event: events.StdoutEvent) -> None:
        for line in event["text"].splitlines():
            self._line("|", line)

    def _outcome(self, event: events.OutcomeEvent) -> None:
        self._live.stop()
        for call in self._calls.values():  # calls without an end were cancelled with their program
            self._line("→", f"{call} was given up", "yellow")
        self._calls.clear()
        error = event["error"]
        if event["verdict"] == "ok":
            self._line("✓", "done", "green")
            if warning := event.get("warning"):
                self._line("!", warning, "yellow")
        elif error is not None and error["kind"] == "empty":
            self._line("✗", error["message"], "yellow")
        elif error is not None and error["kind"] != "check":
            text = f"{error['type']}: {error['message']}"
            if text == self._last_error:  # the line of the call that failed has shown it
                text = "this error ended the program"
            self._line("✗", f"{at_line(error['line'])}{text}", "red")


def _call(event: events.CallStartedEvent | events.CallFinishedEvent | events.CallPendingEvent) -> str:
    arguments = ", ".join(f"{name}={sample(value, limit=60)}" for name, value in event["arguments"].items())
    return f"{event['tool']}({arguments})"
