"""Print text of others on a terminal: lines that keep their shape, and a live view of what runs at the moment."""

import re
import time

from rich.console import Console, Group
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

# Control characters can move a terminal's cursor; the bidirectional ones can make a line read as another.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHOWN_AFTER = 0.25  # seconds: what ends sooner would only flicker
_MAX_SHOWN = 6  # lines: hundreds of calls at once must not fill the screen


def visible(text: str) -> str:
    r"""Return a text with its control characters escaped: `\x1b[2J` rather than an empty screen. Lines and tabs stay."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def is_live(console: Console) -> bool:
    """Return True where lines can be drawn over: on a terminal, not in a file, a pipe or a notebook."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: Console, text: str | Text, *, prefix: str = "", style: str = "", hang: int | None = None) -> None:
    """Print a line. A terminal breaks it between words; a file gets it whole.

    Args:
        console: The terminal or file.
        text: The line.
        prefix: Text before the line, in `style`.
        style: The style of the prefix.
        hang: The column at which the rest of a broken line starts; by default below the start of the text.
    """
    body = text if isinstance(text, Text) else Text(visible(text))
    head = (prefix, style)
    hang = len(prefix) if hang is None else hang
    # A very narrow terminal has no room beside the indent, and breaks the line better itself.
    if not console.is_terminal or console.width < hang + 20:
        console.print(Text.assemble(head, body), soft_wrap=True)
        return
    body.expand_tabs(4)
    # The first line starts at the prefix and the others at `hang`, so the two have different widths.
    first = body.wrap(console, console.width - len(prefix))[0] if body else body
    console.print(Text.assemble(head, first))
    rest = body[len(first) :]
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    for line in rest.wrap(console, console.width - hang) if rest else ():
        console.print(Text.assemble(" " * hang, line))


def print_program(console: Console, program: str) -> None:
    """Print a program with line numbers."""
    code = Syntax("", "python", theme="ansi_dark").highlight(visible(program))
    for number, line in enumerate(code.split("\n"), 1):
        indent = len(line.plain) - len(line.plain.lstrip())
        say(console, line, prefix=f"{number:>4} ", style="dim", hang=5 + indent + 4)


class LiveView:
    """Lines at the foot of a terminal for what runs at the moment, each with its seconds so far.

    In a file or a notebook it shows nothing. `stop` gives the terminal back.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._running: dict[str, tuple[str, float]] = {}

    def begin(self, key: str, text: str) -> None:
        """Show `text` from now on, under `key`, once it has run for a moment."""
        self._running[key] = (visible(text), time.monotonic())
        if self._live is None and is_live(self._console):
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True)
            self._live.start()

    def end(self, key: str) -> None:
        """Remove the line of `key`; an unknown key is no error."""
        self._running.pop(key, None)

    def stop(self) -> None:
        """Remove all lines, and show the cursor again."""
        self._running.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Group:
        now = time.monotonic()
        # rich draws in a thread of its own, so the dict can change meanwhile: `list` copies it in one step.
        slow = [(text, now - since) for text, since in list(self._running.values()) if now - since >= _SHOWN_AFTER]
        lines = [self._line(text, seconds) for text, seconds in slow[:_MAX_SHOWN]]
        if len(slow) > _MAX_SHOWN:
            lines.append(Text(f"  … and {len(slow) - _MAX_SHOWN} more", style="dim"))
        return Group(*lines)

    def _line(self, text: str, seconds: float) -> Text:
        line = Text(f"  … {text}", style="dim", no_wrap=True)
        # Leave room for the seconds, which `no_wrap` would cut off.
        line.truncate(max(20, self._console.width - 10), overflow="ellipsis")
        return line.append(f" {seconds:.1f} s")
