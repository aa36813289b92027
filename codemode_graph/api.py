"""The short way in: `codemode(...)` gives a `CodeMode`, which runs tasks and programs."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from codemode_sandboxes import Limits, Sandbox, SandboxError
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from codemode_graph.errors import CodeModeError
from codemode_graph.graph import create_codemode, sandbox_from
from codemode_graph.model.ask import load_model
from codemode_graph.result import RunResult, not_run
from codemode_graph.runs import Approve, Runs
from codemode_graph.settings import Context, Prices
from codemode_graph.sync import wait_for
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.trace.progress import Watcher

if TYPE_CHECKING:
    from codemode_graph.integrations.vercel import VercelTool

__all__ = ["CodeMode", "RunResult", "codemode"]

DEFAULT_MODEL = "openai:gpt-5.2"


def codemode(
    *,
    tools: Tools,
    backend: str | Sandbox = "monty",
    auto: Sequence[str | Sandbox] | None = None,
    fallback: Sequence[str | Sandbox] = (),
    model: str | BaseChatModel | None = None,
    code_model: str | BaseChatModel | None = None,
    api_key: str | None = None,
    max_retries: int = 3,
    timeout: float = 60,
    policies: Mapping[str, ToolPolicy] | None = None,
    limits: Limits | None = None,
    budget: Context | None = None,
    prices: Prices | None = None,
    approve: Approve | None = None,
) -> "CodeMode":
    """Give tools to programs that a model writes.

    Args:
        tools: Functions, LangChain tools or `ToolSpec`s (an `MCPToolLoader` gives those), in a list or by name in a dict.
        backend: The sandbox: a name such as "monty", a `Sandbox`, or "auto", which takes for each program the cheapest
            that offers what it uses.
        auto: The backends among which "auto" may choose; by default all. Giving it means "auto".
        fallback: Backends that are used, in order, where `backend` is not available, and only there.
        model: Writes the programs where `code_model` is not given.
        code_model: Writes the programs: a provider string such as "openai:gpt-5.2", or a chat model. It is first used by
            `run`, so programs of one's own need neither model nor key.
        api_key: For a model named by a string; otherwise the provider's environment variable is used.
        max_retries: Programs that are tried for a task, the first included.
        timeout: Seconds that one program may take, the time in tools included.
        policies: What is allowed of which tool, by name, glob pattern or effect (`effect:destructive`).
        limits: Bounds on one program: computing time, memory, output, calls.
        budget: What a task may use: `Context(max_tokens=..., max_cost=..., max_seconds=..., max_tool_calls=...)`.
        prices: What the model costs, for `max_cost` and for the result's `trace`.
        approve: Answers for a person where calls wait: it is given the request, with its `action_requests`, and returns
            `{"decisions": [...]}`. Without it a run that waits ends there, and says so.

    Raises:
        ConfigurationError: A policy names no tool, or the sandboxes contradict one another.
        ToolLoadError: Something among the tools is not a tool.
        SandboxUnavailable: The sandbox cannot run on this machine.
        UnknownSandbox: No sandbox has that name.
    """
    return CodeMode(
        tools=tools,
        sandbox=sandbox_from(
            None if auto is not None and backend == "monty" else backend, auto=auto, fallback=fallback
        ),
        code_model=code_model or model or DEFAULT_MODEL,
        api_key=api_key,
        max_retries=max_retries,
        timeout=timeout,
        policies=policies,
        limits=limits,
        budget=budget,
        prices=prices,
        approve=approve,
    )


class CodeMode:
    """Runs tasks. Made by `codemode`, which says what the arguments mean.

    Use it with `async with`, or call `aclose` when done, to end the sandbox's workers; they end with the process too.
    """

    def __init__(
        self,
        *,
        tools: Tools,
        sandbox: Sandbox,
        code_model: str | BaseChatModel,
        api_key: str | None,
        max_retries: int,
        timeout: float,
        policies: Mapping[str, ToolPolicy] | None,
        limits: Limits | None,
        budget: Context | None,
        prices: Prices | None,
        approve: Approve | None,
    ) -> None:
        self.tools = load_tools(tools, policies=policies)
        self.sandbox = sandbox
        self._code_model, self._api_key = code_model, api_key
        self._runs = Runs(approve=approve, prices=prices)
        self._create = partial(
            create_codemode,
            tools=self.tools,
            sandbox=self.sandbox,
            limits=limits,
            timeout=timeout,
            **{"max_attempts": max_retries, **(budget.model_dump(exclude_unset=True) if budget else {})},
            prices=prices,
            inline_bytes=sys.maxsize,
        )

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph that runs tasks, for those who want to stream it or look at it.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return self._runs.compile(self._task_graph)

    @cached_property
    def _task_graph(self) -> StateGraph[Any, Any, Any, Any]:
        return self._create(model=load_model(self._code_model, api_key=self._api_key))

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
