"""The short way in: `codemode(...)` gives a `CodeMode`, which runs tasks and programs."""

import asyncio
import sys
from collections.abc import Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from codemode_sandboxes import SandboxError
from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import Unpack

from codemode_graph.errors import CodeModeError
from codemode_graph.graph import create_codemode
from codemode_graph.model.ask import load_model
from codemode_graph.options import Approve, CodeModeOptions, RunOptions, read_context, read_options, read_sandbox
from codemode_graph.result import RunResult, not_run
from codemode_graph.runs import Runs
from codemode_graph.sync import wait_for
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.trace.progress import Watcher

if TYPE_CHECKING:
    from codemode_graph.integrations.vercel import VercelTool

__all__ = ["CodeMode", "RunResult", "codemode"]

DEFAULT_MODEL = "openai:gpt-5.2"


def codemode(*, tools: Tools, **options: Unpack[CodeModeOptions]) -> "CodeMode":
    """Give tools to programs that a model writes.

    Args:
        tools: Functions, LangChain tools or `ToolSpec`s (an `MCPToolLoader` gives those), in a list or by name in a dict.
        options: As `CodeModeOptions` and `RunOptions` list them.

    Raises:
        ConfigurationError: An option cannot be used, see `RunOptions`.
        ToolLoadError: Something among the tools is not a tool.
    """
    return CodeMode(tools=tools, **options)


class CodeMode:
    """Runs tasks. `codemode` makes it, and says what the arguments mean.

    Use it with `async with`, or call `aclose` when done, to end the sandbox's workers; they end with the process too.
    """

    def __init__(self, *, tools: Tools, **options: Unpack[CodeModeOptions]) -> None:
        run = read_options(options, known=CodeModeOptions.__annotations__)
        self.tools = load_tools(tools, policies=options.get("policies"))
        self.sandbox = read_sandbox(run)
        read_context(run)
        self._model = options.get("code_model") or options.get("model") or DEFAULT_MODEL
        self._api_key = options.get("api_key")
        self._runs = Runs(approve=options.get("approve"), prices=options.get("prices"))
        # A result stays in this process, so that no value is too large for it.
        graph_options: dict[str, Any] = {"inline_bytes": sys.maxsize} | {
            name: value for name, value in run.items() if name in RunOptions.__annotations__ and name != "policies"
        }
        self._create = partial(create_codemode, tools=self.tools, **graph_options)

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph that runs tasks, for those who want to stream it or look at it.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return self._runs.compile(self._task_graph)

    @cached_property
    def _task_graph(self) -> StateGraph[Any, Any, Any, Any]:
        return self._create(model=load_model(self._model, api_key=self._api_key))

    @cached_property
    def _program_graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        return self._runs.compile(self._create(model=None))

    async def run(self, task: str, verbose: bool | Watcher = False, *, approve: Approve | None = None) -> RunResult:
        """Do a task: have a program written, checked, run, and repaired where it fails.

        Args:
            task: What is to be done, in plain language.
            verbose: Tell on stderr what happens while it happens, and what it used; a `Watcher` tells it elsewhere.
            approve: Answers for a person in this run, in place of the `approve` that `codemode` was given.

        Returns:
            The result. A program that fails for good, and a model that cannot be asked, are told there.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return await self._runs.run(self.graph, {"task": task}, verbose=verbose, approve=approve)

    def run_sync(self, task: str, verbose: bool | Watcher = False) -> RunResult:
        """`run`, for callers without an event loop."""
        return wait_for(self.run(task, verbose))

    async def run_code(
        self,
        program: str,
        verbose: bool | Watcher = False,
        *,
        after: str | None = None,
        approve: Approve | None = None,
    ) -> RunResult:
        """Check and run a program. No model is asked, so nothing is repaired.

        Args:
            program: Python.
            verbose: As `run` takes it.
            after: The `run_id` of a run that failed, which this program repairs: what that run's programs did is answered
                from its journal and not done again.
            approve: Answers for a person in this run, in place of the `approve` that `codemode` was given.

        Raises:
            UnknownRun: No failed run of that name is kept; the newest 64 are.
        """
        graph = self._program_graph
        if after is None:
            return await self._runs.run(graph, {"task": "", "code": program}, verbose=verbose, approve=approve)
        return await self._runs.repair(graph, program, after=after, verbose=verbose, approve=approve)

    async def batch_run(self, tasks: Sequence[str], *, concurrency: int = 8) -> list[RunResult]:
        """Do several tasks at the same time, each as if it were alone.

        Args:
            tasks: What is to be done.
            concurrency: Tasks that run at one time.

        Returns:
            The results, in the order of the tasks. A task that cannot be run fails alone.
        """
        slots = asyncio.Semaphore(concurrency)

        async def one(task: str) -> RunResult:
            async with slots:
                try:
                    return await self.run(task)
                except (CodeModeError, SandboxError) as error:
                    return not_run(task, str(error))

        return list(await asyncio.gather(*map(one, tasks)))

    @cached_property
    def subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph without a checkpointer of its own: for a node of another graph, whose checkpointer it uses.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return self._task_graph.compile(name="codemode")

    @property
    def approves(self) -> bool:
        """Whether there is an `approve` that answers for people."""
        return self._runs.approve is not None

    def as_langchain_tool(self, name: str = "codemode", description: str | None = None) -> BaseTool:
        """A LangChain tool that does a task by a program. See `codemode_graph.integrations.langchain`."""
        from codemode_graph.integrations.langchain import as_langchain_tool

        return as_langchain_tool(self, name=name, description=description)

    def as_openai_tool(self, name: str = "codemode", description: str | None = None) -> dict[str, Any]:
        """The tool for OpenAI's Responses API, as its `tools` take it. `answer_openai` answers its calls."""
        from codemode_graph.integrations.openai import as_openai_tool

        return as_openai_tool(self, name=name, description=description)

    def as_openai_function(self, name: str = "codemode", description: str | None = None) -> dict[str, Any]:
        """The tool for OpenAI's Chat Completions, as its `tools` take it. `answer_openai` answers its calls."""
        from codemode_graph.integrations.openai import as_openai_function

        return as_openai_function(self, name=name, description=description)

    def as_vercel_tool(self, description: str | None = None) -> "VercelTool":
        """The tool for Vercel's AI SDK: a dict with `description`, `inputSchema`, `parameters` and `execute`.

        `execute` takes `{"task": ...}` and gives `{"success", "output", "error", "stdout"}`. From TypeScript, connect the
        SDK's MCP client to `codemode-graph serve` instead.
        """
        from codemode_graph.integrations.vercel import as_vercel_tool

        return as_vercel_tool(self, description=description)

    async def answer_openai(self, call: Any) -> dict[str, Any]:
        """Do what a model asked for by a call of `as_openai_tool` or `as_openai_function`.

        Args:
            call: The call as the SDK gives it, or as a dict: an item `function_call` of a response's `output`, or one of a
                chat message's `tool_calls`.

        Returns:
            What the model is sent back: the item `function_call_output`, or the message of role "tool". What is wrong with
            the arguments, and why a run failed, is told there.

        Raises:
            ValueError: It is no function call.
        """
        from codemode_graph.integrations.openai import answer_openai

        return await answer_openai(self, call)

    async def aclose(self) -> None:
        """End what the sandbox holds in this event loop."""
        await self.sandbox.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
