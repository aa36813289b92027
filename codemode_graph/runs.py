"""The runs of a `CodeMode`. Each has checkpoints: in a SQLite file, or in memory while it runs or can be gone on with."""

import asyncio
import json
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Durability, Interrupt, StateSnapshot
from pydantic import JsonValue

from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.locate import keep_beside
from codemode_graph.calls.place import ONE_RUN
from codemode_graph.calls.view import fold
from codemode_graph.catalogue import Notes
from codemode_graph.errors import ConfigurationError, Undecided, UnknownRun
from codemode_graph.exact import decode, encode, encode_fields
from codemode_graph.nodes.approve import call_approver, plain_answer, unusable_answers
from codemode_graph.nodes.generate import bare
from codemode_graph.nodes.learn import notes_of
from codemode_graph.nodes.node import add_attempt
from codemode_graph.options import Approve
from codemode_graph.result import RunResult, run_result
from codemode_graph.settings import Prices
from codemode_graph.state import CodeModeState
from codemode_graph.tools.hints import check_types, to_plain
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.trace.watcher import Watcher, follow

if TYPE_CHECKING:
    from codemode_graph.calls.sqlite import SQLiteJournal

__all__ = [
    "Answers",
    "Caller",
    "RunSummary",
    "Runs",
    "answer_interrupts",
    "is_open",
    "open_journal",
    "summary_of",
]

_Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]
Answers: TypeAlias = Sequence[Mapping[str, Any]] | Mapping[str, Any]
"""What people decided: one decision for each call that waits, or answers by the ids of the run's interrupts."""

# A failed run keeps its whole journal in memory until it is repaired, which most never are.
_MOST_RUNS = 64
_METADATA = "codemode_metadata"
# Answers in a row that cannot be taken, after which a function for approvals is not asked again: a person may mistype twice.
_MOST_REFUSALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run, as a list of runs shows it.

    Attributes:
        run_id: Its id, for `CodeMode.resume`.
        task: What was to be done; empty where the run had a program instead.
        status: "ok" and "failed" are over; "waiting" is for people; "open" goes on somewhere, or its process is gone.
        changed: When it got there.
        metadata: What the caller gave for the run.
    """

    run_id: str
    task: str
    status: Literal["ok", "failed", "waiting", "open"]
    changed: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)


def open_journal(durable: "str | os.PathLike[str] | Journal") -> "SQLiteJournal":
    """Return the journal that `durable` names.

    Raises:
        ConfigurationError: Checkpoints cannot lie beside that journal.
    """
    from codemode_graph.calls.sqlite import SQLiteJournal

    if isinstance(durable, SQLiteJournal):
        return durable
    if isinstance(durable, (str, os.PathLike)) and os.fspath(durable) != ":memory:":
        return SQLiteJournal(Path(durable).expanduser())
    raise ConfigurationError(
        f"durable takes a file or a SQLiteJournal, because checkpoints lie there too, not {durable!r}. For other databases, "
        "compile create_codemode(...) with a checkpointer of theirs"
    )


def _checkpoints(journal: "SQLiteJournal | None") -> BaseCheckpointSaver[Any]:
    if journal is None:
        return InMemorySaver()
    try:
        from codemode_graph.checkpoints import FileCheckpoints
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(("langgraph.checkpoint.sqlite", "aiosqlite", "sqlite_vec")):
            raise
        raise ConfigurationError(
            "durable runs need langgraph-checkpoint-sqlite: pip install langgraph-checkpoint-sqlite"
        ) from error
    return FileCheckpoints(journal.path)


# What a run is given wrong would else be an error in its middle, after some of its calls.
_ARGUMENTS = {"approve": Approve, "metadata": Mapping[str, JsonValue], "older_than": timedelta}


class Caller(NamedTuple):
    """The caller of a run.

    Attributes:
        verbose: Print what happens, or tell it to a `Watcher`.
        approve: Answers for a person, in place of the one for all runs.
        returns: The type of the answer, in place of the one for all runs.
    """

    verbose: bool | Watcher = False
    approve: Approve | None = None
    returns: ReturnType | None = None


class Runs:
    """Runs graphs, and keeps the runs: all of them in a file, or the newest 64 that did not succeed in memory.

    Args:
        approve: Answers for a person in runs that have no `approve` of their own.
        prices: What the model costs, for the results' `trace`.
        durable: The file.
        journal: Where calls are recorded, where that is elsewhere.
        returns: The type of the answer of runs that have none of their own, for the results' `value`.

    Raises:
        ConfigurationError: The library for checkpoints in a file is not installed.
    """

    def __init__(
        self,
        *,
        approve: Approve | None,
        prices: Prices | None,
        durable: "SQLiteJournal | None",
        journal: Journal | None,
        returns: ReturnType | None = None,
    ) -> None:
        self.approve = approve
        self._prices = prices
        self._returns = returns
        self._checkpoints = _checkpoints(durable)
        self._durable = durable is not None
        self._journal = durable or journal or keep_beside(self._checkpoints, MemoryJournal)
        # A journal that the caller gave keeps its runs: they may be read there.
        self._owns_journal = durable is None and journal is None
        self._run_ids: dict[str, None] = {}
        # A task that comes twice under one id of the caller's is done once, so such runs are kept where they succeeded, too.
        self._callers_ids: set[str] = set()
        self._successes: dict[str, None] = {}
        self._users: Counter[str] = Counter()

    @property
    def notes(self) -> Notes:
        """The place of the types that runs have seen."""
        return notes_of(self._journal)

    def compile(self, graph: StateGraph[Any, Any, Any, Any]) -> _Graph:
        """Compile a graph with the checkpointer of these runs."""
        return graph.compile(checkpointer=self._checkpoints, name="codemode")

    async def run(
        self,
        graph: _Graph,
        input: Mapping[str, Any],
        caller: Caller,
        *,
        run_id: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> RunResult:
        """Run a graph from its start, or go on with the run of that id. See `CodeMode.run`.

        Raises:
            ConfigurationError: The run of that id had another input.
        """
        check_types({"metadata": metadata, "approve": caller.approve}, _ARGUMENTS)
        config = _config(run_id or uuid.uuid4().hex, json.dumps(metadata) if metadata else None)
        if run_id is not None:
            with suppress(UnknownRun):
                snapshot = await self.snapshot(graph, run_id)
                _check_same(snapshot, input, run_id)
                return await self.resume(graph, snapshot, caller, decisions=None)
            self._callers_ids.add(run_id)
        # Nobody can look at a run whose id nobody has yet, so what it leaves in this process's memory is written at its end.
        durability: Durability | None = "exit" if run_id is None and not self._durable else None
        return await self._run(graph, input, config, caller, durability=durability)

    async def repair(self, graph: _Graph, program: str, caller: Caller, *, after: str) -> RunResult:
        """Continue a run that failed with a program that repairs its last one. See `CodeMode.run_code`.

        Raises:
            UnknownRun: No failed run of that name is kept.
        """
        check_types({"approve": caller.approve}, _ARGUMENTS)
        missing = UnknownRun(f"there is no failed run {after!r} to go on from: run the program without `after`")
        try:
            snapshot = await self.snapshot(graph, after)
        except UnknownRun:
            raise missing from None
        _check_returns(snapshot, caller.returns)
        if self._durable:
            if is_open(snapshot) or snapshot.values.get("verdict") == "ok":
                raise missing
        elif after not in self._run_ids:
            raise missing
        else:
            # Without an await until the run begins: two repairs of one run at the same time would share its checkpoints.
            del self._run_ids[after]
        config = _config(after, _metadata(snapshot))
        return await self._run(graph, None, config, caller, program=program)

    async def snapshot(self, graph: _Graph, run_id: str) -> StateSnapshot:
        """Return the newest checkpoint of a run.

        Raises:
            UnknownRun: There is none.
        """
        snapshot = await graph.aget_state(_config(run_id))
        # LangGraph has an empty snapshot for a thread that it does not know.
        if snapshot.created_at is None:
            raise UnknownRun(f"there is no run {run_id!r} here")
        if "task" not in snapshot.values:
            # Its process was killed before the first step: the input lies in the checkpoint, and in no state yet.
            known = await self._checkpoints.aget_tuple(_config(run_id))
            input = {} if known is None else known.checkpoint["channel_values"].get(START) or {}
            return snapshot._replace(values={"task": "", **snapshot.values, **input})
        return snapshot

    async def resume(
        self, graph: _Graph, snapshot: StateSnapshot, caller: Caller, *, decisions: Answers | None
    ) -> RunResult:
        """Go on with a run. See `CodeMode.resume`."""
        check_types({"approve": caller.approve}, _ARGUMENTS)
        run_id = snapshot.config["configurable"]["thread_id"]
        _check_returns(snapshot, caller.returns)
        if not is_open(snapshot):
            return await self.result(snapshot, returns=caller.returns)
        config = _config(run_id, _metadata(snapshot))
        command = None if decisions is None else _command(snapshot.interrupts, decisions)
        return await self._run(graph, command, config, caller)

    async def result(self, snapshot: StateSnapshot, *, returns: ReturnType | None = None) -> RunResult:
        """Return what is recorded of a run: its newest checkpoint, and the calls since then."""
        state: dict[str, Any] = dict.fromkeys(("verdict", "output", "error"))
        state |= {name: [] for name in ("attempts", "tool_calls", "updates", "usage", "left_over", "pending")}
        state |= {"stdout": "", "program": "", "decisions": {}, **snapshot.values}
        events = await self._journal.read(state["run_id"]) if is_open(snapshot) and "run_id" in state else []
        if len(events) > state.get("sequence", 0) and state["attempts"]:
            state["tool_calls"] = encode_fields({"tool_calls": fold(events).tool_calls()})["tool_calls"]
            last = state["attempts"][-1]
            own = [call["id"] for call in state["tool_calls"] if call["attempt"] == last["number"]]
            state["attempts"] = [
                *state["attempts"][:-1],
                {**last, "calls": list(dict.fromkeys([*last["calls"], *own]))},
            ]
        run_id = snapshot.config["configurable"]["thread_id"]
        return run_result(cast("CodeModeState", state), run_id, prices=self._prices, returns=returns or self._returns)

    async def summaries(self, graph: _Graph, *, limit: int) -> list[RunSummary]:
        """Return runs, the newest first. See `CodeMode.runs`."""
        found: list[RunSummary] = []
        async for snapshot in self._snapshots(graph):
            found.append(summary_of(snapshot))
            if len(found) == limit:
                break
        return found

    async def prune(self, graph: _Graph, *, older_than: timedelta) -> list[str]:
        """Delete runs that are over. See `CodeMode.prune`."""
        check_types({"older_than": older_than}, _ARGUMENTS)
        limit = datetime.now(UTC) - older_than
        old = [
            snapshot
            async for snapshot in self._snapshots(graph)
            if not is_open(snapshot) and summary_of(snapshot).changed < limit
        ]
        for snapshot in old:
            await self._journal.delete(snapshot.values["run_id"])
            run_id = snapshot.config["configurable"]["thread_id"]
            for runs in (self._run_ids, self._successes):
                runs.pop(run_id, None)
            self._callers_ids.discard(run_id)
            await self._checkpoints.adelete_thread(run_id)
        return [snapshot.config["configurable"]["thread_id"] for snapshot in old]

    async def aclose(self) -> None:
        """Close the file. The next use opens it again."""
        if self._durable:
            await self._journal.aclose()
            await asyncio.to_thread(cast("Any", self._checkpoints).close)

    async def _snapshots(self, graph: _Graph) -> AsyncIterator[StateSnapshot]:
        offset, size = 0, 100
        while page := await self._threads(size, offset):
            for run_id in page:
                with suppress(UnknownRun):  # it has just been pruned
                    yield await self.snapshot(graph, run_id)
            offset += size

    async def _threads(self, limit: int, offset: int) -> list[str]:
        if self._durable:
            return cast("list[str]", await asyncio.to_thread(cast("Any", self._checkpoints).threads, limit, offset))
        return list(reversed(self._run_ids))[offset : offset + limit]

    async def _run(
        self,
        graph: _Graph,
        input: Any,
        config: RunnableConfig,
        caller: Caller,
        *,
        program: str | None = None,
        durability: Durability | None = None,
    ) -> RunResult:
        verbose, approve, returns = caller
        # The Python type goes by the context, which is kept nowhere; the state has its JSON Schema.
        context = None if returns is None else {"returns": returns}
        watcher = (_progress() if verbose else None) if isinstance(verbose, bool) else verbose
        thread = config["configurable"]["thread_id"]
        # The input is in the file before the model is asked: by the id alone, nothing else could say what it was.
        durability = "sync" if self._durable else durability
        result = None
        self._users[thread] += 1
        try:
            if program is not None:
                await _begin_repair(graph, config, program)
            waits, refusals = True, 0
            while waits:
                values = await follow(graph, input, config, watcher, durability=durability, context=context)
                if watcher is not None:
                    watcher.stop()
                # A run that succeeded is not read back: what its checkpoint has is what the graph returned.
                if values.get("verdict") == "ok":
                    break
                snapshot = await graph.aget_state(config)
                values = snapshot.values
                problem = values.get("problem")
                refusals = refusals + 1 if problem else 0
                if refusals == _MOST_REFUSALS:
                    raise unusable_answers(str(problem))
                input = await answer_interrupts(snapshot.interrupts, approve or self.approve)
                waits = input is not None
            result = run_result(
                cast("CodeModeState", values), thread, prices=self._prices, returns=returns or self._returns
            )
        finally:
            if watcher is not None:
                watcher.stop()
            self._users[thread] -= 1
            if not self._users[thread]:
                del self._users[thread]
            # Another call that goes on with the run forgets it: without its journal that one would begin anew.
            if not self._durable and thread not in self._users:
                # A run that was cut short is kept with the failed ones: its caller may ask what took effect, or go on with it.
                await self._forget(thread, failed=result is None or not result["success"])
        if watcher is not None:
            watcher.end(result["metrics"])
        return result

    async def _forget(self, run_id: str, *, failed: bool) -> None:
        """Delete the records of a run that succeeded; of those that failed, or have a caller's id, the newest 64 stay."""
        for runs in (self._run_ids, self._successes):
            runs.pop(run_id, None)
        if failed or run_id in self._callers_ids:
            runs = self._run_ids if failed else self._successes
            runs[run_id] = None
            if len(runs) <= _MOST_RUNS:
                return
            run_id = next(iter(runs))
            del runs[run_id]
        self._callers_ids.discard(run_id)
        if self._owns_journal:
            for info in await self._journal.runs(limit=1_000_000):
                if info.thread == run_id:
                    await self._journal.delete(info.run)
        await self._checkpoints.adelete_thread(run_id)


def _progress() -> Watcher:
    from codemode_graph.trace.progress import Progress  # it imports the parts of rich that draw

    return Progress()


def _config(run_id: str, metadata: str | None = None) -> RunnableConfig:
    known = {ONE_RUN: run_id} if metadata is None else {ONE_RUN: run_id, _METADATA: metadata}
    return {"configurable": {"thread_id": run_id}, "metadata": known}


def _metadata(snapshot: StateSnapshot) -> str | None:
    metadata: Mapping[str, Any] = snapshot.metadata or {}
    return metadata.get(_METADATA)


def _check_same(snapshot: StateSnapshot, input: Mapping[str, Any], run_id: str) -> None:
    known, code = snapshot.values, input.get("code")
    # Not by the digest of the input: a later version of this package may make it of other parts.
    first = known["attempts"][0]["written"] if known.get("attempts") else bare(known.get("code") or "")
    same = known["task"].strip() == input["task"].strip() and (code is None or bare(code) == first)
    if not same:
        raise ConfigurationError(f"run {run_id!r} is of another task: give this one an id of its own")


def _check_returns(snapshot: StateSnapshot, returns: ReturnType | None) -> None:
    """Refuse another type than the run was begun with: what it is asked for cannot change on the way."""
    known = snapshot.values
    schema = known.get("answer_schema") or known.get("returns")
    if returns is not None and returns.schema != schema:
        run_id = snapshot.config["configurable"]["thread_id"]
        raise ConfigurationError(
            f"run {run_id!r} was begun with another `returns`, or none: leave it out, or give that one"
        )


def is_open(snapshot: StateSnapshot) -> bool:
    """Tell whether a run has steps left, from its newest checkpoint.

    A step that has run, but whose result is in no checkpoint yet, is one too. LangGraph's `next` leaves it out, and a process
    that is killed at that moment would leave a run that nothing goes on with.
    """
    return bool(snapshot.tasks)


def summary_of(snapshot: StateSnapshot) -> RunSummary:
    """Return a run as a list shows it, from its newest checkpoint."""
    values = snapshot.values
    status: Literal["ok", "failed", "waiting", "open"] = "ok" if values.get("verdict") == "ok" else "failed"
    if is_open(snapshot):
        status = "waiting" if snapshot.interrupts else "open"
    return RunSummary(
        run_id=snapshot.config["configurable"]["thread_id"],
        task=values.get("task", ""),
        status=status,
        changed=datetime.fromisoformat(str(snapshot.created_at)),
        metadata=json.loads(_metadata(snapshot) or "{}"),
    )


def _command(interrupts: Sequence[Interrupt], decisions: Answers) -> Command[Any] | None:
    """Return the command that answers; None where nobody is asked any more, so that an answer that comes twice is no error."""
    if isinstance(decisions, Mapping) and isinstance(response := decisions.get("decisions"), list):
        decisions = response  # as LangChain's middleware has it, and `approve` returns it
    if not isinstance(decisions, Mapping):
        decisions = {each.id: {"decisions": list(decisions)} for each in interrupts if _is_about_calls(each)}
    known = {each.id: _plain(each, decisions[each.id]) for each in interrupts if each.id in decisions}
    return Command(resume=known) if known else None


def _is_about_calls(waiting: Interrupt) -> bool:
    return isinstance(waiting.value, Mapping) and "action_requests" in waiting.value


def _plain(waiting: Interrupt, answer: object) -> Any:
    """Return an answer in the form that a checkpoint can hold, which has no integers beyond 64 bits.

    Raises:
        ConfigurationError: It is no data. The question stays open.
    """
    if not _is_about_calls(waiting):
        return encode(to_plain(decode(answer)))
    try:
        return encode(plain_answer(answer))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the answer cannot be taken: {error}") from None


async def _begin_repair(graph: _Graph, config: RunnableConfig, program: str) -> None:
    """Write a program into a failed run's state as its node `repair` does."""
    program = bare(program)
    attempts = add_attempt((await graph.aget_state(config)).values["attempts"], program, "")
    update = {
        "program": program,
        "attempts": attempts,
        "verdict": None,
        "error": None,
        "pending": [],
        "problem": None,
    }
    await graph.aupdate_state(config, update, as_node="repair")


async def answer_interrupts(interrupts: Sequence[Interrupt], approve: Approve | None) -> Command[Any] | None:
    """Return the answers to a run's interrupts; None where there are none, or nobody who answers."""
    answers = {}
    for waiting in interrupts if approve is not None else ():
        with suppress(Undecided):
            answers[waiting.id] = _plain(waiting, await call_approver(cast("Approve", approve), waiting.value))
    return Command(resume=answers) if answers else None
