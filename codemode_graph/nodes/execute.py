"""The node that runs a program."""

import asyncio

from codemode_sandboxes import Failed, Finished, Program, Sandbox
from codemode_sandboxes.source import tree_of
from langchain_core.runnables import RunnableConfig

from codemode_graph.calls.gate import by_digest
from codemode_graph.calls.make import ToolCalls
from codemode_graph.calls.place import place_of
from codemode_graph.calls.program import Paused, ProgramRun, run_program
from codemode_graph.calls.resolve import Resolver
from codemode_graph.calls.session import RunLog, Session, SessionLost
from codemode_graph.calls.values import LOAD_VALUE, Values, load_value
from codemode_graph.calls.view import fold, standing_effects
from codemode_graph.check.arguments import unknown_tools
from codemode_graph.check.tool_uses import References
from codemode_graph.errors import ConfigurationError
from codemode_graph.events import logger
from codemode_graph.nodes.check import check
from codemode_graph.nodes.inspect_output import inspect_value, is_look, judge
from codemode_graph.nodes.learn import Tallies, learn, with_observed
from codemode_graph.nodes.node import Update, add_attempt, amend, knobs, seconds_spent
from codemode_graph.nodes.run_log import close, open_log, program_digest
from codemode_graph.nodes.sandbox_choice import on_backend
from codemode_graph.nodes.spans import sandbox_run
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure
from codemode_graph.tools.text import listed


async def execute(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Run the program until it ends or waits for people.

    Calls that were made before, by an earlier attempt or before this program was stopped, are answered from the journal.

    Raises:
        JournalError: The journal cannot be read or written.
        ConfigurationError: The program has begun with tools that there are none of here.
    """
    while True:
        log = await open_log(state, parts, config)
        state = await _with_recorded_program(state, parts, config, log)
        digest = program_digest(state["program"])
        if (len(state["attempts"]), digest) in {(known.attempt, known.digest) for known in log.view.sessions.values()}:
            _require_tools(state, parts, log)
        try:
            session = await Session.attach(log, len(state["attempts"]), digest, is_fork=place_of(config).is_fork)
            try:
                return await _drive(state, parts, config, log, session)
            finally:
                # Also where the end cannot be recorded: whoever goes on in this process must not wait for a lease.
                session.leave()
        except SessionLost as lost:
            logger.info("%s", lost)  # what the other one records answers this program's calls


def _require_tools(state: CodeModeState, parts: Parts, log: RunLog) -> None:
    """Refuse to go on with a program that has passed the check with tools that are gone since.

    It would fail at the first of them, and the run be over: with calls of unknown outcome that nobody has settled.

    Raises:
        ConfigurationError: A tool is gone.
    """
    names, tree = {spec.name for spec in parts.catalogue.callable}, tree_of(state["program"])
    called = {record.event.tool for record in log.view.records if record.event.attempt == len(state["attempts"])}
    missing = {*unknown_tools(tree, References(tree, names)), *(called - names)}
    if missing:
        raise ConfigurationError(
            f"the program of this run calls {listed(sorted(map(repr, missing)))}, and there is no such tool here: go on with "
            "it with the tools that it began with, or give its task again as a new run"
        )


async def _with_recorded_program(
    state: CodeModeState, parts: Parts, config: RunnableConfig, log: RunLog
) -> CodeModeState:
    """Return the state with the program that is recorded for its attempt.

    An input that was delivered twice has a program from the model for each; the first to be recorded is the run's.
    """
    *before, newest = state["attempts"]
    recorded = log.view.programs[newest["number"]]
    if recorded.program == newest["written"]:
        return state
    attempts = add_attempt(before, recorded.program, recorded.thoughts)
    own: CodeModeState = {**state, "program": recorded.program, "attempts": attempts}
    return {**own, **await check(own, parts, config)}  # type: ignore[typeddict-item]


async def _drive(state: CodeModeState, parts: Parts, config: RunnableConfig, log: RunLog, session: Session) -> Update:
    if parts.catalogue.is_searched:  # programs read cards, too
        parts = await with_observed(parts, config)
    values = Values(run=log.run, journal=log.journal, inline_bytes=parts.inline_bytes)
    # The calls of an agent's earlier programs, which this one repairs, were recorded by other runs.
    values.know([record.value for record in log.view.records if record.session == 0])
    hidden = {name for spec in parts.catalogue.specs for name in spec.policy.redact}
    tools = {
        spec.name: load_value(values, redact=hidden) if spec is LOAD_VALUE else spec
        for spec in parts.catalogue.callable
    }
    attempt = len(state["attempts"])
    # A killed process left no checkpoint of the seconds that the program had taken; the journal has them.
    recorded = state["attempts"][-1]["seconds"]
    before = max(recorded, session.spent) if session.restart else recorded
    opened = log.view.opened
    assert opened is not None  # `open_log` has seen to it
    superseded = fold(await log.journal.read(opened.superseded)).tool_calls() if opened.superseded else []
    tallies = Tallies(await parts.catalogue.observations())
    maker = ToolCalls(values=values, limits=parts.limits, config=config, state=state, observe=tallies.add)
    resolver = Resolver(
        session=session,
        attempt=attempt,
        tools=tools,
        maker=maker,
        decisions=state["decisions"],
        max_calls=knobs(parts).max_tool_calls,
        past=by_digest(state.get("held") or ()),
        superseded=by_digest(standing_effects(superseded)),
    )

    program = Program(code=state["program"], tools=tuple(tools), seed=opened.seed, now=opened.now)

    async def run_in(sandbox: Sandbox) -> ProgramRun:
        async with sandbox_run(sandbox.name, state["program"], attempt=attempt, config=config) as traced:
            maker.config = traced.config
            ended = await run_program(
                sandbox,
                program,
                session=session,
                resolver=resolver,
                limits=parts.limits,
                timeout=_timeout(state, parts, session),
            )
            traced.end(
                ended,
                lambda: [call for call in log.view.tool_calls() if call["id"] in resolver.calls],
                sandbox.name,
            )
            return ended

    try:
        bound = session.restart or state["attempts"][-1]["sandbox"] is not None
        sandbox, run = await on_backend(state, parts, program, run_in, bound=bound)
    except SessionLost:
        raise
    except BaseException:
        # The journal has to say that nobody drives the run any more, also while the task is being cancelled.
        await asyncio.shield(session.end("cancelled"))
        raise
    await learn(tallies, log.journal)
    # Putting all calls together costs with their number, so it is done once.
    calls = log.view.tool_calls()
    failure, output = None, None
    if isinstance(run.event, Failed):
        failure = _failure(run.event, maker)
    elif isinstance(run.event, Finished):
        if not is_look(parts, resolver.calls, calls):
            failure = inspect_value(state, parts, run.event.value)
        output = await values.keep(run.event.value, final=True)
    paused = isinstance(run.event, Paused)
    changes: Update = {
        "failure": failure,
        "output": output,
        "stdout": run.stdout,
        "calls": list(resolver.calls),
        "sandbox": sandbox,
        "seconds": before + run.seconds,
    }
    if (refused := resolver.refusals()) is not None:
        changes["refused"] = refused
    update: Update = {
        "program": state["program"],
        "sandbox": sandbox,
        "attempts": amend(state, changes),
        "tool_calls": calls,
        "updates": state["updates"] if paused else log.view.updates(),
        "left_over": [] if paused else resolver.left_over(),
        "pending": run.event.pending if isinstance(run.event, Paused) else [],
        # The attempt keeps a value of the wrong type; nobody is to take it for the answer.
        "output": output if failure is None else None,
        "error": failure,
        "stdout": run.stdout,
    }
    # Most runs have none, and their output no such key.
    content = await values.blocks(run.event.value) if isinstance(run.event, Finished) and failure is None else []
    if content or state.get("content"):
        update["content"] = content
    after: CodeModeState = {**state, **update}  # type: ignore[typeddict-item]
    verdict = None if paused else judge(after, parts)[0]
    # One append closes the session and the run, so a kill between the two cannot leave a run open that has its verdict.
    if verdict in ("ok", "exhausted"):
        session.note_end("failed" if failure else "finished")
        await close(log, str(verdict), config)
    else:
        await session.end("waiting" if paused else "failed" if failure else "finished")
        if paused and parts.approver is None and log.journal is parts.memory and not place_of(config).thread:
            await log.journal.delete(log.run)  # there is neither a checkpoint nor a thread by which it could be resumed
    return {**update, "sequence": log.view.length}


def _timeout(state: CodeModeState, parts: Parts, session: Session) -> float:
    """Return the seconds that the program may still take: of its own, and of the run's."""
    most = knobs(parts).max_seconds
    # What ended in time has not to end once more in the rest of it, only because the process died then.
    spent = 0.0 if session.retells else session.spent
    rest = parts.timeout - spent
    if most is None:
        return max(0.0, rest)
    # Of what the newest program took a checkpoint may know a part, and the journal knows all.
    recorded = state["attempts"][-1]["seconds"]
    others = seconds_spent(state) - recorded
    return max(0.0, min(rest, most - others - (max(recorded, spent) if session.restart else recorded)))


def _failure(event: Failed, maker: ToolCalls) -> Failure:
    return Failure(
        kind=event.kind,
        type=event.type,
        message=maker.hide(event.message) or "raised without a message",
        line=event.line,
        traceback=maker.hide(event.traceback),
    )
