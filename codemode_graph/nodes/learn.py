"""Learn what tools return that declare no result, and know it in later runs."""

from dataclasses import replace
from typing import Any

from langchain_core.runnables import RunnableConfig

from codemode_graph.calls.journal import Journal, JournalError, MemoryJournal
from codemode_graph.calls.locate import keep_beside
from codemode_graph.catalogue import Catalogue, Notes, Observations
from codemode_graph.catalogue.tally import Tally
from codemode_graph.events import logger
from codemode_graph.nodes.run_log import journal_of
from codemode_graph.settings import Parts


class Tallies:
    """The results of tools that declare none, in one program.

    Args:
        observations: The tools.
    """

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self.by_tool: dict[str, Tally] = {}

    def add(self, tool: str, value: Any) -> None:
        """Count what a call returned."""
        if tool in self.observations.tools:
            if tool not in self.by_tool:
                self.by_tool[tool] = self.observations.tally(tool)
            self.by_tool[tool].add(value)


def notes_of(journal: Journal) -> Notes:
    """Return what keeps the types: the journal, or this process's memory beside one that keeps no notes."""
    notes = journal if isinstance(journal, Notes) else keep_beside(journal, MemoryJournal)
    assert isinstance(notes, Notes)
    return notes


async def observed_types(catalogue: Catalogue, notes: Notes) -> dict[str, dict[str, Any]]:
    """Return what is known of the tools' results, by their names. A run goes on without it where it cannot be read."""
    observations = await catalogue.observations()
    try:
        return await observations.load(notes)
    except JournalError as error:
        logger.warning("what earlier runs saw of the tools' results cannot be read: %s", error)
        return {}


async def with_observed(parts: Parts, config: RunnableConfig) -> Parts:
    """Return the parts with a catalogue whose cards tell what earlier calls returned."""
    known = await observed_types(parts.catalogue, notes_of(journal_of(parts, config)))
    return replace(parts, catalogue=parts.catalogue.with_observed(known)) if known else parts


async def learn(tallies: Tallies, journal: Journal) -> None:
    """Add what a program saw to what is known. A run does not fail because of it."""
    if not tallies.by_tool:
        return
    try:
        await tallies.observations.learn(notes_of(journal), tallies.by_tool)
    except Exception as error:  # of a database, too
        logger.warning("what this run saw of the tools' results cannot be kept: %s", error)
