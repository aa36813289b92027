"""The connections of a process of a run, as long as it lives: a journal, a checkpointer, and the author of its programs."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointMetadata, CheckpointTuple

from benchmarks.chaos.tools import Life
from codemode_graph.calls.journal import Journal, RunInfo
from codemode_graph.calls.log import Attached, Event, Renewed

__all__ = ["AgentAuthor", "Author", "MortalJournal", "MortalSaver"]


class MortalJournal:
    """A journal that a process writes to while it lives, and may die before an append and after it.

    Args:
        journal: Where the runs are.
        life: Of the process.
        owners: The life of each executor. A lease of one that is dead has run out.
    """

    def __init__(self, journal: Journal, life: Life, owners: dict[str, Life]) -> None:
        self.durable, self.fenced = journal.durable, journal.fenced
        self._journal, self._life, self._owners = journal, life, owners

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Append events to a run. See `Journal.append`."""
        self._owners |= {event.owner: self._life for event in events if isinstance(event, Attached)}
        self._life.tick()
        length = await self._journal.append(run, expected, events)
        self._life.tick()
        return length

    async def read(self, run: str, after: int = 0) -> list[Event]:
        """Return events of a run. See `Journal.read`."""
        return [self._seen(event) for event in await self._journal.read(run, after)]

    def _seen(self, event: Event) -> Event:
        # In one process the executor's process is alive after its kill, so that its lease would be waited for.
        if not isinstance(event, Attached | Renewed):
            return event
        life = self._owners.get(event.owner)
        return replace(event, until=0.0) if life is not None and life.dead else event

    async def find(self, thread: str, namespace: str, digest: str) -> list[RunInfo]:
        """Return the open runs of one input. See `Journal.find`."""
        return await self._journal.find(thread, namespace, digest)

    async def runs(self, *, before: RunInfo | None = None, limit: int = 100) -> list[RunInfo]:
        """Return runs, the newest first. See `Journal.runs`."""
        return await self._journal.runs(before=before, limit=limit)

    async def keep(self, run: str, text: str) -> str:
        """Keep a large value. See `Journal.keep`."""
        return await self._journal.keep(run, text)

    async def load(self, run: str, hash: str) -> str:
        """Return a value. See `Journal.load`."""
        return await self._journal.load(run, hash)

    async def delete(self, run: str) -> None:
        """Remove a run. See `Journal.delete`."""
        await self._journal.delete(run)

    async def aclose(self) -> None:
        """Leave the journal open: other processes use it."""


class MortalSaver(BaseCheckpointSaver[Any]):
    """A checkpointer that a process writes to while it lives, and may die before a write and after it."""

    def __init__(self, saver: BaseCheckpointSaver[Any], life: Life) -> None:
        super().__init__(serde=saver.serde)
        self._saver, self._life = saver, life

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: Any
    ) -> RunnableConfig:
        """Write a checkpoint. See `BaseCheckpointSaver.aput`."""
        self._life.tick()
        written = await self._saver.aput(config, checkpoint, metadata, new_versions)
        self._life.tick()
        return written

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Write what a node returned. See `BaseCheckpointSaver.aput_writes`."""
        self._life.tick()
        await self._saver.aput_writes(config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint. See `BaseCheckpointSaver.aget_tuple`."""
        return await self._saver.aget_tuple(config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """Return checkpoints. See `BaseCheckpointSaver.alist`."""
        async for found in self._saver.alist(config, **options):
            yield found

    def get_next_version(self, current: Any, channel: None = None) -> Any:
        """Return the version that follows another. See `BaseCheckpointSaver.get_next_version`."""
        return self._saver.get_next_version(current, channel)


_TASK = re.compile(r"do case \d+\.\d+\.")


class Author(BaseChatModel):
    """Writes the next program for the one that it is shown, so that it has no memory that a kill could take."""

    programs: dict[str, list[str]]
    """By the words of the task."""
    life: Any

    @property
    def _llm_type(self) -> str:
        return "author"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.life.tick()
        task = _TASK.findall(messages[-1].text)[-1]
        shown = [int(number) for number in re.findall(r"^attempt = (\d+)$", messages[-1].text, re.MULTILINE)]
        # Several inputs have one bound on attempts, so a program may have to be written once more: it fails again.
        program = self.programs[task][min(max(shown, default=0), len(self.programs[task]) - 1)]
        return _reply(AIMessage(f"```python\n{program}```"))


class AgentAuthor(Author):
    """The model of an agent: it calls the tool for programs until one succeeds, or it has no other to try."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        """Return this model: it knows its tool."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.life.tick()
        last = max(n for n, message in enumerate(messages) if isinstance(message, HumanMessage))
        answers = [message for message in messages[last:] if isinstance(message, ToolMessage)]
        programs = self.programs[_TASK.findall(messages[last].text)[-1]]
        if len(answers) == len(programs) or any(answer.status == "success" for answer in answers):
            return _reply(AIMessage("That is all."))
        call = ToolCall(name="run_program", args={"code": programs[len(answers)]}, id=f"call {last}.{len(answers)}")
        return _reply(AIMessage("", tool_calls=[call]))


def _reply(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
