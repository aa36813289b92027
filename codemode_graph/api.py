"""The short way in: `codemode(...)` gives a `CodeMode`, which runs tasks and programs."""

import asyncio
import inspect
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from codemode_sandboxes import Limits, Sandbox, SandboxError, create_sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Interrupt
from typing_extensions import TypedDict

from codemode_graph.errors import CodeModeError
from codemode_graph.graph import create_codemode
from codemode_graph.metrics import Metrics, metrics
from codemode_graph.model import load_model
from codemode_graph.progress import Progress
from codemode_graph.settings import Context, Prices
from codemode_graph.state import Attempt, CodeModeOutput, CodeModeState, Failure, ToolCall
from codemode_graph.sync import wait_for
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.spec import ToolPolicy

__all__ = ["CodeMode", "RunResult", "codemode"]

Approve: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""Answers a request for approval."""

DEFAULT_MODEL = "openai:gpt-5.2"


class RunResult(TypedDict):
    """What came of one task or program."""

    success: bool
    output: Any
    """The program's value: JSON values only."""
    error: str | None
    """One line that says why there is no value."""
    program: str
    """The last program, as it ran."""
    attempts: list[Attempt]
    tool_calls: list[ToolCall]
    stdout: str
    metrics: Metrics


def codemode(
    *,
    tools: Tools,
    backend: str | Sandbox = "monty",
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
        backend: The sandbox: a name such as "monty", or a `Sandbox`.
        model: Writes the programs where `code_model` is not given.
        code_model: Writes the programs: a provider string such as "openai:gpt-5.2", or a chat model. It is first used by
            `run`, so programs of one's own need neither model nor key.
        api_key: For a model named by a string; otherwise the provider's environment variable is used.
        max_retries: Programs that are tried for a task, the first included.
        timeout: Seconds that one program may take, the time in tools included.
        policies: What is allowed of which tool, by name, glob pattern or effect (`effect:destructive`).
        limits: Bounds on one program: computing time, memory, output, calls.
        budget: What a task may use: `Context(max_tokens=..., max_cost=..., max_seconds=..., max_tool_calls=...)`.
        prices: What the model costs, for `max_cost`.
        approve: Answers for a person where calls wait: it is given the request, with its `action_requests`, and returns
            `{"decisions": [...]}`. Without it a run that waits ends there, and says so.

    Raises:
        ConfigurationError: A policy names no tool.
        ToolLoadError: Something among the tools is not a tool.
        SandboxUnavailable: The sandbox cannot run on this machine.
        UnknownSandbox: No sandbox has that name.
    """
    return CodeMode(
        tools=tools,
        backend=backend,
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
        backend: str | Sandbox,
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
        self.sandbox = backend if isinstance(backend, Sandbox) else create_sandbox(backend)
        self._code_model, self._api_key, self._approve = code_model, api_key, approve
        self._checkpoints = InMemorySaver()
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
        model = load_model(self._code_model, api_key=self._api_key)
        return self._create(model=model).compile(checkpointer=self._checkpoints, name="codemode")

    @cached_property
    def _program_graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        return self._create(model=None).compile(checkpointer=self._checkpoints, name="codemode")

    async def run(self, task: str, verbose: bool | Progress = False) -> RunResult:
        """Do a task: have a program written, checked, run, and repaired where it fails.

        Args:
            task: What is to be done, in plain language.
            verbose: Tell on stderr what happens while it happens, and what it used; a `Progress` tells it elsewhere.

        Returns:
            The result. A program that fails for good, and a model that cannot be asked, are told there.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return await self._run(self.graph, {"task": task}, verbose=verbose)

    def run_sync(self, task: str, verbose: bool | Progress = False) -> RunResult:
        """`run`, for callers without an event loop."""
        return wait_for(self.run(task, verbose))

    async def run_code(self, program: str, verbose: bool | Progress = False) -> RunResult:
        """Check and run a program. No model is asked, so nothing is repaired."""
        return await self._run(self._program_graph, {"task": "", "code": program}, verbose=verbose)

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
                    return _not_run(str(error))

        return list(await asyncio.gather(*map(one, tasks)))

    async def aclose(self) -> None:
        """End what the sandbox holds in this event loop."""
        await self.sandbox.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(
        self, graph: CompiledStateGraph[Any, Any, Any, Any], given: dict[str, str], *, verbose: bool | Progress
    ) -> RunResult:
        progress = verbose if isinstance(verbose, Progress) else Progress() if verbose else None
        config: RunnableConfig = {"configurable": {"thread_id": uuid.uuid4().hex}}
        request: Any = given
        try:
            while request is not None:
                async for event in graph.astream(request, config, stream_mode="custom"):
                    if progress is not None:
                        progress.show(event)
                snapshot = await graph.aget_state(config)
                if progress is not None:
                    progress.stop()
                request = await self._ask(snapshot.interrupts)
        finally:
            if progress is not None:
                progress.stop()
            await self._checkpoints.adelete_thread(config["configurable"]["thread_id"])
        result = run_result(cast("CodeModeState", snapshot.values))
        if progress is not None:
            progress.end(result["metrics"])
        return result

    async def _ask(self, interrupts: Sequence[Interrupt]) -> Command[Any] | None:
        """The answer to what a run waits for, where there is somebody to give it."""
        if not interrupts or self._approve is None:
            return None
        answers = {}
        for waiting in interrupts:
            answer = self._approve(waiting.value)
            answers[waiting.id] = await answer if inspect.isawaitable(answer) else answer
        return Command(resume=answers)


def run_result(state: CodeModeState) -> RunResult:
    """The result of a run, from the graph's state."""
    error = state["error"]
    if waiting := state["pending"]:
        names = ", ".join(f"{call['tool']} ({call['id']})" for call in waiting)
        message = f"the run waits for a person to decide on {names}: give codemode(..., approve=...)"
        error = Failure(kind="approval", type="PermissionError", message=message, line=None, traceback="")
    where = f"line {error['line']}: " if error is not None and error["line"] else ""
    kind = "" if error is None or error["kind"] in ("model", "check", "empty", "approval") else f"{error['type']}: "
    return RunResult(
        success=state["verdict"] == "ok",
        output=state["output"],
        error=None if error is None else f"{where}{kind}{error['message']}",
        program=state["program"],
        attempts=state["attempts"],
        tool_calls=state["tool_calls"],
        stdout=state["stdout"],
        metrics=metrics(state),
    )


def _not_run(error: str) -> RunResult:
    state = CodeModeOutput(
        verdict="error",
        output=None,
        error=None,
        stdout="",
        program="",
        attempts=[],
        tool_calls=[],
        updates=[],
        usage=[],
    )
    return RunResult(
        success=False,
        output=None,
        error=error,
        program="",
        attempts=[],
        tool_calls=[],
        stdout="",
        metrics=metrics(state),
    )
