"""A run that shows itself: in a notebook, in a terminal, and as a page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from codemode_graph.trace.run_data import RunData

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Trace"]


class Trace(RunData):
    """A run that shows itself: in a notebook, in a terminal, and as a page (`save`).

    Values that a policy redacts in the state are redacted here.

    Attributes:
        task: The task; empty where the run had a program instead.
        verdict: The result in one word; None while the run goes on.
        output: The value of the program.
        error: The reason why there is no value.
        attempts: The programs, each with its result.
        calls: The journal.
        usage: The calls of the model.
        pending: The calls that wait for a person.
        decisions: The decisions of people, by `PendingCall.key`.
        left_over: Ids of calls of earlier programs whose effects stand, and which the last one neither made nor undid.
        prices: The prices of the model; None where they are unknown.
        prompts: What the model was asked, request by request.
        run_id: The id that the run is known by.
        started: When it began, in seconds since the epoch; None where that is unknown.
        ended: When its newest verdict was given; None before the first.
    """

    __slots__ = ()

    def html(self) -> str:
        """Return the run as one page that needs no script, no other file and no network."""
        # Jinja2 and Pygments take a tenth of a second to import, and most runs are never shown.
        from codemode_graph.trace.html import page

        return page(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file; an existing file is replaced.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be written.
        """
        Path(path).write_text(self.html(), encoding="utf-8")

    def _repr_html_(self) -> str:
        from codemode_graph.trace.html import fragment

        return fragment(self)

    def __rich__(self) -> "RenderableType":
        from codemode_graph.trace.plaintext import renderable

        return renderable(self)

    def __str__(self) -> str:
        from codemode_graph.trace.plaintext import plain

        return plain(self)

    __repr__ = __str__
