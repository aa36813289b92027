"""The shortest way to use code mode: `codemode(...)` returns a `CodeMode`, which runs tasks and programs."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast, overload

from codemode_sandboxes import SandboxError
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict, TypeVar, Unpack

from codemode_graph.catalogue import Catalogue, ObservedTypes
from codemode_graph.catalogue.program_file import SavedProgram
from codemode_graph.catalogue.program_folder import SavedPrograms, with_programs
from codemode_graph.errors import CodeModeError, ConfigurationError
from codemode_graph.graph import build_graph, type_checker_of
from codemode_graph.model.ask import load_model
from codemode_graph.nodes.learn import observed_types
from codemode_graph.options import (
    Approve,
    CodeModeOptions,
    RunOptions,
    read_catalogue,
    read_context,
    read_options,
    read_sandbox,
)
from codemode_graph.result import RunResult, not_run
from codemode_graph.runs import Answers, Caller, Runs, RunSummary, is_open, open_journal, summary_of
from codemode_graph.sync import wait_for
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.return_type import Declared, ReturnType, read_return_type
from codemode_graph.trace.watcher import Watcher

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool

    from codemode_graph.integrations.vercel import VercelTool

__all__ = ["CodeMode", "RunResult", "codemode"]

T = TypeVar("T")
DEFAULT_MODEL = "openai:gpt-5.2"


def codemode(*, tools: Tools, **options: Unpack[CodeModeOptions]) -> "CodeMode":
    """Return a `CodeMode`, which runs programs that a model writes on these tools.

    Args:
        tools: Functions, LangChain tools or `ToolSpec`s (an `MCPToolLoader` gives those), in a list or by name in a dict.
        options: As `CodeModeOptions` and `RunOptions` list them.

    Raises:
        ConfigurationError: An option cannot be used, see `RunOptions`.
        ToolLoadError: Something among the tools is not a tool.
    """
    return CodeMode(tools=tools, **options)


class _RunArguments(TypedDict, total=False):
    """The arguments of `run` and `run_code` that say nothing of the type of the answer."""

    approve: Approve | None
    run_id: str | None
    metadata: Mapping[str, Any] | None


class _CodeArguments(_RunArguments, total=False):
    """The same of `run_code`."""

    after: str | None


class _ResumeArguments(TypedDict, total=False):
    """The arguments of `resume` that say nothing of the type of the answer."""

    decisions: Answers | None
    approve: Approve | None


class CodeMode:
    """Runs tasks and programs. `codemode` makes it, and describes the arguments.

    Use it with `async with`, or call `aclose` at the end, to stop the sandbox's workers; they stop with the process too.
    """

    def __init__(self, *, tools: Tools, **options: Unpack[CodeModeOptions]) -> None:
        run = read_options(options, known=CodeModeOptions.__annotations__)
        self._loaded = load_tools(tools, policies=options.get("policies"))
        self.sandbox = read_sandbox(run)
        self._returns: ReturnType | None = read_context(run).returns
        self._model = options.get("code_model") or options.get("model") or DEFAULT_MODEL
        self._api_key = options.get("api_key")
        durable = None if (place := options.get("durable")) is None else open_journal(place)
        if durable is not None and run.get("journal") is not None:
            raise ConfigurationError("durable keeps the journal, too: leave out journal")
        self._runs = Runs(
            approve=options.get("approve"),
            prices=options.get("prices"),
            durable=durable,
            journal=run.get("journal"),
            returns=self._returns,
        )
        # A result stays in this process, so that no value is too large for it.
        graph_options: dict[str, Any] = {"inline_bytes": sys.maxsize} | {
            name: value for name, value in run.items() if name in RunOptions.__annotations__
        }
        if durable is not None:
            graph_options["journal"] = durable
        self._options = cast("RunOptions", graph_options)
        folder = None if (named := run.get("programs")) is None else Path(named)
        if folder is None and durable is not None:
            folder = durable.path.with_suffix(".programs")
        self.programs = SavedPrograms(
            folder,
            self._loaded,
            capabilities=lambda: self.sandbox.capabilities,
            checker=type_checker_of(self.sandbox),
            changed=self._read_programs,
        )
        self._read_programs()

    def _read_programs(self) -> None:
        """Read the saved programs anew. What was made of the tools is made again at its next use; runs go on as they began."""
        self.tools = with_programs(self._loaded, self.programs.folder)
        for name in ("catalogue", "observed", "graph", "_task_graph", "_program_graph", "subgraph", "program_subgraph"):
            self.__dict__.pop(name, None)

    async def save(
        self,
        result: Mapping[str, Any] | str,
        *,
        name: str,
        description: str = "",
        parameters: Mapping[str, Any] | Sequence[str] = (),
        overwrite: bool = False,
    ) -> SavedProgram:
        """Keep the program of a run that succeeded as a tool for programs: a file in `programs.folder` for people to read.

        Args:
            result: The result of the run, or its id.
            name: The tool's name: small letters, digits and underscores.
            description: For the model.
            parameters: What the program is given anew each time: names of variables that it sets to a constant; or, by name,
                a type or a JSON Schema for such a variable, or the value in the program that the parameter takes the place of.
            overwrite: Take the place of the program of that name, and of what was changed in its file by hand.

        Returns:
            The program, with the tools that it calls.

        Raises:
            ConfigurationError: The run failed, the program cannot have these parameters, it has a value in it that a tool
                returned, a tool or a saved program has the name, or there is no folder.
            UnknownRun: There is no run of that id.
        """
        known = await self.result(result) if isinstance(result, str) else result
        return await self.programs.save(
            known, name=name, description=description, parameters=parameters, overwrite=overwrite
        )

    async def run_program(self, name: str, /, verbose: bool | Watcher = False, **arguments: Any) -> RunResult[Any]:
        """Run a saved program, as a run of its own. See `run_code`.

        Args:
            name: Its name.
            verbose: As for `run`.
            arguments: Its arguments: JSON values.

        Raises:
            ConfigurationError: There is no such program, it does not fit the tools, or an argument is not of its type.
        """
        return await self.run_code(self.programs.call(name, arguments), verbose)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The tools that programs may call, as prompts tell of them."""
        return read_catalogue(self.tools, self._options)

    @cached_property
    def observed(self) -> ObservedTypes:
        """The types that earlier runs have seen in results of tools that declare none."""
        return ObservedTypes(self.catalogue.observations, self._runs.notes)

    async def known_catalogue(self) -> Catalogue:
        """Return the tools as prompts tell of them now: with what earlier runs saw of their results."""
        return self.catalogue.with_observed(await observed_types(self.catalogue, self._runs.notes))

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph that runs tasks, to stream it or to draw it.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        return self._runs.compile(self._task_graph)

    @cached_property
    def _task_graph(self) -> StateGraph[Any, Any, Any, Any]:
        return self._build(load_model(self._model, api_key=self._api_key))

    @cached_property
    def _program_graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        return self._runs.compile(self._build(None))

    def _build(self, model: "BaseChatModel | None", approver: Approve | None = None) -> StateGraph[Any, Any, Any, Any]:
        how: dict[str, Any] = {"catalogue": self.catalogue, "options": self._options, "approver": approver}
        return build_graph(model=model, specs=self.tools, **how)

    @overload
    async def run(
        self, task: str, verbose: bool | Watcher = ..., *, returns: Declared[T], **how: Unpack["_RunArguments"]
    ) -> RunResult[T]: ...
    @overload
    async def run(
        self, task: str, verbose: bool | Watcher = ..., *, returns: Any = ..., **how: Unpack["_RunArguments"]
    ) -> RunResult[Any]: ...
    async def run(
        self,
        task: str,
        verbose: bool | Watcher = False,
        *,
        returns: Any = None,
        approve: Approve | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RunResult[Any]:
        """Do a task: ask the model for a program, check it, run it, and have it repaired where it fails.

        Args:
            task: The task, in plain language.
            verbose: Print events and what the run used on stderr; a `Watcher` shows them elsewhere.
            returns: The type of the answer, in place of the `returns` of `codemode`: any that pydantic's `TypeAdapter`
                takes, or a JSON Schema. The result's `value` is then an object of that type.
            approve: Answers for a person in this run, in place of the `approve` of `codemode`.
            run_id: An id of your own for the run. Where there is a run of that id it is gone on with, and its result is
                returned where it is over: a task that is given twice is done once.
            metadata: JSON values to keep with the run; `runs` shows them.

        Returns:
            The result. Its `error` says why there is no value: no program worked, or the model could not be asked.

        Raises:
            ConfigurationError: The model, or `returns`, cannot be used, or the run of that id is of another task.
            JournalError: The runs cannot be read or written.
        """
        declared, fields = self._declare(returns)
        caller = Caller(verbose, approve, declared)
        return await self._runs.run(self.graph, {"task": task, **fields}, caller, run_id=run_id, metadata=metadata)

    @overload
    def run_sync(self, task: str, verbose: bool | Watcher = ..., *, returns: Declared[T]) -> RunResult[T]: ...
    @overload
    def run_sync(self, task: str, verbose: bool | Watcher = ..., *, returns: Any = ...) -> RunResult[Any]: ...
    def run_sync(self, task: str, verbose: bool | Watcher = False, *, returns: Any = None) -> RunResult[Any]:
        """Do what `run` does, and block the calling thread meanwhile: for callers without an event loop."""
        return wait_for(self.run(task, verbose, returns=returns))

    @overload
    async def run_code(
        self, program: str, verbose: bool | Watcher = ..., *, returns: Declared[T], **how: Unpack["_CodeArguments"]
    ) -> RunResult[T]: ...
    @overload
    async def run_code(
        self, program: str, verbose: bool | Watcher = ..., *, returns: Any = ..., **how: Unpack["_CodeArguments"]
    ) -> RunResult[Any]: ...
    async def run_code(
        self,
        program: str,
        verbose: bool | Watcher = False,
        *,
        returns: Any = None,
        after: str | None = None,
        approve: Approve | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> RunResult[Any]:
        """Check and run a program. No model is asked, so nothing is repaired.

        Args:
            program: Python.
            verbose: As for `run`.
            returns: As for `run`.
            after: The `run_id` of a run that failed, which this program repairs: calls that took effect in that run are
                answered from its journal and not made again.
            approve: Answers for a person in this run, in place of the `approve` of `codemode`.
            run_id: As for `run`.
            metadata: As for `run`.

        Raises:
            ConfigurationError: There is both `after` and `run_id`, the run of that id is of another program, or `returns`
                cannot be used.
            UnknownRun: No failed run of that name is kept. Where `durable` names no file, the newest 64 are.
        """
        graph, (declared, fields) = self._program_graph, self._declare(returns)
        if after is None:
            caller, input = Caller(verbose, approve, declared), {"task": "", "code": program, **fields}
            return await self._runs.run(graph, input, caller, run_id=run_id, metadata=metadata)
        if run_id is not None:
            raise ConfigurationError("a run that is gone on from keeps its id: leave out run_id beside after")
        caller = Caller(verbose, approve, read_return_type(returns))
        return await self._runs.repair(graph, program, caller, after=after)

    @overload
    async def resume(
        self, run_id: str, verbose: bool | Watcher = ..., *, returns: Declared[T], **how: Unpack["_ResumeArguments"]
    ) -> RunResult[T]: ...
    @overload
    async def resume(
        self, run_id: str, verbose: bool | Watcher = ..., *, returns: Any = ..., **how: Unpack["_ResumeArguments"]
    ) -> RunResult[Any]: ...
    async def resume(
        self,
        run_id: str,
        verbose: bool | Watcher = False,
        *,
        returns: Any = None,
        decisions: Answers | None = None,
        approve: Approve | None = None,
    ) -> RunResult[Any]:
        """Go on with a run whose process was killed, or that waits for people: with the same program, and nothing twice.

        Args:
            run_id: The id of the run. It needs the tools that it began with.
            verbose: As for `run`.
            returns: The Python type that the run was begun with, for the result's `value`. A run is held to its type without
                it too: the JSON Schema is kept.
            decisions: What people decided: one decision for each call that waits, such as `{"type": "approve"}`, in order or
                with the call's `id` in each; also as `{"decisions": [...]}`, which LangChain's middleware takes.
                Questions of tools are answered by a dict: answers by the ids of interrupts. Where nobody is asked any more
                they are not used.
            approve: Answers for a person in this run, in place of the `approve` of `codemode`.

        Returns:
            The result; of a run that is over, the recorded one.

        Raises:
            UnknownRun: There is no such run: not in the file, or not in this process where `durable` names none.
            ConfigurationError: The model cannot be used, or the run was begun with another `returns`.
            JournalError: The runs cannot be read or written.
        """
        snapshot = await self._runs.snapshot(self._program_graph, run_id)
        # A program of the caller's own has no task, and no model that repairs it.
        graph = self.graph if is_open(snapshot) and snapshot.values["task"] else self._program_graph
        caller = Caller(verbose, approve, read_return_type(returns))
        return await self._runs.resume(graph, snapshot, caller, decisions=decisions)

    async def result(self, run_id: str) -> RunResult:
        """Return what is recorded of a run, over or not, and do nothing.

        Raises:
            UnknownRun: There is no such run.
        """
        return await self._runs.result(await self._runs.snapshot(self._program_graph, run_id))

    async def summary(self, run_id: str) -> RunSummary:
        """Return one run as `runs` lists it.

        Raises:
            UnknownRun: There is no such run.
        """
        return summary_of(await self._runs.snapshot(self._program_graph, run_id))

    async def runs(self, *, limit: int = 100) -> list[RunSummary]:
        """Return the runs, the newest first. Where `durable` names no file these are the ones that `resume` can go on with."""
        return await self._runs.summaries(self._program_graph, limit=limit)

    async def prune(self, *, older_than: timedelta) -> list[str]:
        """Delete the runs that are over and were last changed before this time, and return their ids."""
        return await self._runs.prune(self._program_graph, older_than=older_than)

    @overload
    async def batch_run(
        self, tasks: Sequence[str], *, returns: Declared[T], concurrency: int = ...
    ) -> list[RunResult[T]]: ...
    @overload
    async def batch_run(
        self, tasks: Sequence[str], *, returns: Any = ..., concurrency: int = ...
    ) -> list[RunResult[Any]]: ...
    async def batch_run(
        self, tasks: Sequence[str], *, returns: Any = None, concurrency: int = 8
    ) -> list[RunResult[Any]]:
        """Do several tasks at the same time, each as if it were alone.

        Args:
            tasks: The tasks, in plain language.
            returns: The type of each answer, as for `run`.
            concurrency: The number of tasks that run at the same time.

        Returns:
            The results, in the order of the tasks. One that cannot begin has its own `error`; the others run.
        """
        slots = asyncio.Semaphore(concurrency)

        declared = read_return_type(returns)

        async def one(task: str) -> RunResult[Any]:
            async with slots:
                try:
                    return await self.run(task, returns=declared)
                except (CodeModeError, SandboxError) as error:
                    return not_run(task, str(error))

        return list(await asyncio.gather(*map(one, tasks)))

    def _declare(self, returns: Any) -> tuple[ReturnType | None, dict[str, Any]]:
        """Return the type of an answer, and what a graph's input says of it."""
        declared = self._returns if returns is None else read_return_type(returns)
        return declared, {} if declared is None else {"returns": declared.schema}

    @cached_property
    def subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph for a node of another graph: it has no checkpointer of its own, and uses that graph's.

        Raises:
            ConfigurationError: The model cannot be used.
        """
        model = load_model(self._model, api_key=self._api_key)
        return self._build(model, self._runs.approve).compile(name="codemode")

    @cached_property
    def program_subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled graph that runs programs, for a node of another graph. It has no model."""
        return self._build(None, self._runs.approve).compile(name="codemode")

    @property
    def returns(self) -> ReturnType | None:
        """The type of the answers, where `codemode` was given one."""
        return self._returns

    def as_langchain_tool(self, name: str = "codemode", description: str | None = None) -> "BaseTool":
        """Return a LangChain tool that does tasks. See `codemode_graph.integrations.langchain`."""
        from codemode_graph.integrations.langchain import as_langchain_tool

        return as_langchain_tool(self, name=name, description=description)

    def as_langchain_tools(self) -> "list[BaseTool]":
        """Return each saved program as a LangChain tool, which runs it. See `codemode_graph.integrations.langchain`."""
        from codemode_graph.integrations.langchain import as_langchain_tools

        return as_langchain_tools(self)

    def as_openai_tool(self, name: str = "codemode", description: str | None = None) -> dict[str, Any]:
        """Return the tool as `tools` of OpenAI's Responses API takes it. `answer_openai` answers its calls."""
        from codemode_graph.integrations.openai import as_openai_tool

        return as_openai_tool(self, name=name, description=description)

    def as_openai_function(self, name: str = "codemode", description: str | None = None) -> dict[str, Any]:
        """Return the tool as `tools` of OpenAI's Chat Completions takes it. `answer_openai` answers its calls."""
        from codemode_graph.integrations.openai import as_openai_function

        return as_openai_function(self, name=name, description=description)

    def as_vercel_tool(self, description: str | None = None) -> "VercelTool":
        """Return the tool for Vercel's AI SDK: a dict with `description`, `inputSchema`, `parameters` and `execute`.

        `execute` takes `{"task": ...}` and returns `{"success", "output", "error", "warning", "stdout"}`. From TypeScript,
        connect the SDK's MCP client to `codemode-graph serve` instead.
        """
        from codemode_graph.integrations.vercel import as_vercel_tool

        return as_vercel_tool(self, description=description)

    async def answer_openai(self, call: Any) -> dict[str, Any]:
        """Do the task of a call that a model made of `as_openai_tool` or `as_openai_function`.

        Args:
            call: The call, as an object of the SDK or as a dict: an item `function_call` of a response's `output`, or one of a
                chat message's `tool_calls`.

        Returns:
            The answer to send to the model: the item `function_call_output`, or the message of role "tool". It also says
            why the arguments are wrong, or why the run failed.

        Raises:
            ValueError: `call` is no function call, or one of a function of another name than this was given to the model by.
        """
        from codemode_graph.integrations.openai import answer_openai

        return await answer_openai(self, call)

    async def aclose(self) -> None:
        """Close what the sandbox holds in this event loop, and the file of the runs."""
        await self._runs.aclose()
        await self.sandbox.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
