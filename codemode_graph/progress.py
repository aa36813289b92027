"""Telling a person what a run does, while it does it."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from codemode_graph.metrics import Metrics, metrics_box
from codemode_graph.preview import sample

__all__ = ["Progress"]


class Progress:
    """Writes a line an event.

    Args:
        console: Where to; stderr by default.
        programs: Show each program as it runs.
    """

    def __init__(self, console: Console | None = None, *, programs: bool = True) -> None:
        self.console = console or Console(stderr=True)
        self._programs = programs

    def show(self, event: dict[str, Any]) -> None:
        """Show one event of the `custom` stream; unknown types are passed over."""
        handler = getattr(self, f"_{event.get('type')}", None)
        if handler is not None:
            handler(event)

    def end(self, used: Metrics) -> None:
        """Show what the run used."""
        self.console.print(metrics_box(used))

    def _line(self, mark: str, text: str, style: str = "") -> None:
        self.console.print(f"  [{style or 'dim'}]{mark}[/] {text}", highlight=False, soft_wrap=True)

    def _attempt(self, event: dict[str, Any]) -> None:
        number = event["number"]
        title = "Attempt 1" if number == 1 else f"Attempt {number}: repair"
        self.console.print(f"\n[bold]{title}[/]", highlight=False)

    def _model(self, event: dict[str, Any]) -> None:
        tokens = f"{event['input_tokens']} tokens in, {event['output_tokens']} out"
        if event["error"] is not None:
            self._line("✗", escape(event["error"]), "red")
            return
        self._line("·", f"{escape(event['model'])} wrote it in {event['seconds']:.1f} s ({tokens})")

    def _check(self, event: dict[str, Any]) -> None:
        if self._programs and event["program"].strip():
            self.console.print(
                Syntax(
                    event["program"].strip(), "python", line_numbers=True, word_wrap=True, background_color="default"
                )
            )
        for fix in event["fixes"]:
            self._line("~", f"fixed: {escape(fix)}", "yellow")
        for finding in event["findings"]:
            where = f"line {finding['line']}: " if finding["line"] else ""
            self._line("✗", f"check: {where}{escape(finding['message'])}", "red")
        if not event["findings"]:
            self._line("✓", "checked", "green")

    def _call_answered(self, event: dict[str, Any]) -> None:
        self._line(
            "=", f"{escape(event['tool'])} answered from the journal (call {event['id']}), not run again", "cyan"
        )

    def _call_pending(self, event: dict[str, Any]) -> None:
        self._line("?", f"{escape(event['tool'])}({_arguments(event['arguments'])}) waits for a person", "yellow")

    def _call_finished(self, event: dict[str, Any]) -> None:
        time = f"{event['seconds'] * 1000:.0f} ms"
        if event["error"] is None:
            self._line("→", f"{escape(event['tool'])}({_arguments(event['arguments'])}) {time}", "green")
        else:
            error = f"{event['error']['type']}: {event['error']['message']}"
            self._line("→", f"{escape(event['tool'])}({_arguments(event['arguments'])}) {time} {escape(error)}", "red")

    def _stdout(self, event: dict[str, Any]) -> None:
        for line in event["text"].splitlines():
            self._line("|", escape(line))

    def _outcome(self, event: dict[str, Any]) -> None:
        if event["error"] is not None and event["error"]["kind"] != "check":
            where = f"line {event['error']['line']}: " if event["error"]["line"] else ""
            self._line("✗", f"{where}{escape(event['error']['type'])}: {escape(event['error']['message'])}", "red")
        elif event["verdict"] == "ok":
            self._line("✓", "done", "green")
        elif event["verdict"] == "empty":
            self._line("✗", "it gave back nothing, though its tools returned data", "yellow")


def _arguments(arguments: dict[str, Any]) -> str:
    return escape(", ".join(f"{name}={sample(value, limit=60)}" for name, value in arguments.items()))
