"""codemode-graph: programs through `run_code`, and tasks through the graph with a scripted model."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.peers.commit import program_run
from benchmarks.peers.programs import PROGRAMS
from benchmarks.peers.tools import EXPECTED, TOOLS
from benchmarks.peers.worker import Run, Ways
from codemode_graph.api import CodeMode, codemode
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.graph import create_codemode

__all__ = ["open_ways"]


class _Scripted(BaseChatModel):
    """Writes the same program each time, and the comment that the task ends in."""

    program: str

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        comment = str(messages[-1].content).rpartition("\n")[2]
        reply = f"I will call the tools.\n\n```python\n{self.program}{comment}\n```"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(reply))])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


def _task(cm: CodeMode, program: str) -> Run:
    graph = create_codemode(model=_Scripted(program=program), tools=cm.tools, sandbox=cm.sandbox).compile()

    async def run(comment: str) -> Any:
        state = await graph.ainvoke({"task": f"Do it.\n{comment.strip()}"})
        if state["verdict"] != "ok":
            raise RuntimeError(state["error"]["message"])
        return state["output"]

    return run


def _graph(cm: CodeMode, program: str) -> Run:
    """Run a program as a graph of the caller's own with a checkpointer, which has a thread for each run."""
    saver = InMemorySaver()
    graph = create_codemode(model=None, tools=cm.tools, sandbox=cm.sandbox).compile(checkpointer=saver)

    async def run(comment: str) -> Any:
        thread = uuid.uuid4().hex
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        state = await graph.ainvoke({"task": "", "code": program + comment}, config)
        await saver.adelete_thread(thread)  # else the next runs would be measured beside a growing memory
        if state["verdict"] != "ok":
            raise RuntimeError(state["error"]["message"])
        return state["output"]

    return run


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Open the tools and one sandbox, for all runs, as an application does."""
    with TemporaryDirectory() as folder:
        journal = SQLiteJournal(Path(folder) / "journal.sqlite")
        async with (
            codemode(tools=list(TOOLS)) as cm,
            codemode(tools=list(TOOLS), sandbox=cm.sandbox, journal=journal) as kept,
        ):
            runs = {
                "codemode-graph": partial(program_run, cm),
                "codemode-graph, journal in SQLite": partial(program_run, kept),
                "codemode-graph, checkpointer": partial(_graph, cm),
                "codemode-graph task": partial(_task, cm),
            }
            yield {
                way: {name: run(program) for name, program in zip(EXPECTED, PROGRAMS, strict=True)}
                for way, run in runs.items()
            }
        await journal.aclose()
