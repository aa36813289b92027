"""Showing other people's text to a person: what is written line by line, and what goes on at this moment."""

import re
import time

from rich.console import Console, Group
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

__all__ = ["Underway", "is_live", "numbered", "say", "visible"]

# Control characters can move a terminal's cursor; the bidirectional ones can make a line read as another.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHOWN_AFTER = 0.25
_SHOWN_AT_ONCE = 6


def visible(text: str) -> str:
    r"""Write out what a terminal would act on: `\x1b[2J` rather than an empty screen. Lines and tabs stay."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def is_live(console: Console) -> bool:
    """Whether what was written can be drawn over: a terminal, not a file, a pipe or a notebook."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: Console, text: str | Text, *, prefix: str = "", style: str = "", hang: int | None = None) -> None:
    """Write a line. A terminal's lines are broken between words; in a file it stays one line.

    Args:
        console: Where to.
        text: The line.
        prefix: Goes before it, in `style`.
        style: Of the prefix.
        hang: Where what is left of a broken line begins; below the text's begin, unless given.
    """
    body = text if isinstance(text, Text) else Text(visible(text))
    head = (prefix, style)
    hang = len(prefix) if hang is None else hang
    if not console.is_terminal or console.width < hang + 20:
        console.print(Text.assemble(head, body), soft_wrap=True)
        return
    body.expand_tabs(4)
    first = body.wrap(console, console.width - len(prefix))[0] if body else body
    console.print(Text.assemble(head, first))
    rest = body[len(first) :]
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    for line in rest.wrap(console, console.width - hang) if rest else ():
        console.print(Text.assemble(" " * hang, line))


def numbered(console: Console, program: str) -> None:
    """Write a program with the numbers of its lines."""
    code = Syntax("", "python", theme="ansi_dark").highlight(visible(program))
    for number, line in enumerate(code.split("\n"), 1):
        indent = len(line.plain) - len(line.plain.lstrip())
        say(console, line, prefix=f"{number:>4} ", style="dim", hang=5 + indent + 4)


class Underway:
    """What goes on at this moment, at the foot of a terminal, with the seconds it has taken so far.

    Elsewhere than on a terminal nothing is shown. `stop` gives the terminal back.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._begun: dict[str, tuple[str, float]] = {}

    def begin(self, key: str, text: str) -> None:
        """Show `text` from now on, once it has taken longer than a moment."""
        self._begun[key] = (visible(text), time.monotonic())
        if self._live is None and is_live(self._console):
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True)
            self._live.start()

    def end(self, key: str) -> None:
        """Show it no longer."""
        self._begun.pop(key, None)

    def stop(self) -> None:
        """Show nothing any more."""
        self._begun.clear()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Group:
        now = time.monotonic()
        slow = [(text, now - since) for text, since in list(self._begun.values()) if now - since >= _SHOWN_AFTER]
        lines = [self._line(text, seconds) for text, seconds in slow[:_SHOWN_AT_ONCE]]
        if len(slow) > _SHOWN_AT_ONCE:
            lines.append(Text(f"  … and {len(slow) - _SHOWN_AT_ONCE} more", style="dim"))
        return Group(*lines)

    def _line(self, text: str, seconds: float) -> Text:
        line = Text(f"  … {text}", style="dim", no_wrap=True)
        line.truncate(max(20, self._console.width - 10), overflow="ellipsis")
        return line.append(f" {seconds:.1f} s")
