"""The node that gets the first program: from the model, or from the caller."""

import secrets
import time
import uuid
from contextlib import suppress
from functools import partial

from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from codemode_graph.calls.identity import REJOIN_FOR, LargerGraph, find_run, input_digest
from codemode_graph.calls.log import Closed
from codemode_graph.calls.place import place_of
from codemode_graph.calls.session import RunLog, SessionLost
from codemode_graph.compat import attempts_of
from codemode_graph.events import AttemptEvent, emit
from codemode_graph.model import request_message
from codemode_graph.model.reply import program_of
from codemode_graph.nodes.delivery import has_failed, input_time, is_delivered, is_second_delivery, saved_verdicts
from codemode_graph.nodes.node import Update, add_attempt, knobs, read_input
from codemode_graph.nodes.run_log import journal_of
from codemode_graph.nodes.write import take_program, write_prefix, write_program
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState
from codemode_graph.tools.return_type import read_return_type


async def generate(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Begin a run, or go on with one of the same input that never ended, and get a program for the task.

    Raises:
        ConfigurationError: The input has neither a task nor a program, or one that is no text.
        JournalError: The journal cannot be read or written.
    """
    task, code = read_input(state)
    past_calls = state.get("earlier") or []
    return_type = knobs(parts).returns if state.get("returns") is None else read_return_type(state["returns"])
    schema = None if return_type is None else return_type.schema
    payload = {"task": task, "code": code, "earlier": past_calls, "held": state.get("held") or []}
    # Without a schema the digest is what earlier versions made it, so that their open runs are found again.
    digest = input_digest(payload if schema is None else {**payload, "returns": schema})
    journal = journal_of(parts, config)
    place, anew, before = place_of(config), knobs(parts).anew, state.get("run_id")
    if before and state.get("verdict") in ("ok", "exhausted") and not place.is_one_run and not place.parent:
        # Its result has been delivered, so the same input is a new run from now on. In a larger graph its step may be missing.
        await _close(RunLog(journal, before), str(state["verdict"]))
    run = None
    if not anew and state.get("input_digest") == digest:
        # Of two that bring one task under one id, the second may begin when the first has ended.
        is_same = place.is_one_run or (place.server_run is None and await _is_unfinished(state, config))
        run = before if is_same else None
    if run is None:
        larger, came = None, partial(input_time, config=config)
        if place.parent:
            is_over, failed = partial(is_delivered, journal=journal, config=config), partial(has_failed, config=config)
            larger = LargerGraph(attempts_of(config), is_over, failed)
        found = await find_run(journal, place, digest, before=before or "", anew=anew, larger=larger, input_time=came)
    log = RunLog(journal, run or found)
    await log.read()
    opened, superseded = log.view.opened, ""
    if run is None and opened is not None and not place.task and (end := await _end(log, opened.now, config)):
        # A fork from before this node, or an equal input much later, is meant anew. Where that is given again after a kill, it
        # is to find the new run alone.
        await _close(log, end)
        superseded = log.run if end == "superseded" else ""
        log, opened = RunLog(journal, uuid.uuid4().hex), None
    if opened is None and not superseded and place.thread and not place.task and not anew and place.server_run is None:
        # What is still open was cut off so long before that this input does not go on with it.
        runs = await journal.find(place.thread, place.namespace, digest)
        # Another delivery of this input may have opened this very run meanwhile.
        runs = [info for info in runs if info.run != log.run and time.time() - info.opened > REJOIN_FOR]
        superseded = max(runs, key=lambda info: info.rank).run if runs else ""
    if state.get("pending") and state["run_id"] != log.run:
        await _close(RunLog(journal, state["run_id"]), "superseded")
    fresh: Update = {
        "task": state.get("task") or "",
        "code": None,
        "returns": None,
        "answer_schema": schema,
        "program": "",
        "attempts": [],
        "earlier": [],
        "tool_calls": log.view.tool_calls() or past_calls,
        "updates": [],
        "usage": [],
        "prompts": [],
        "ended": None,
        "verdict": None,
        "output": None,
        "error": None,
        "warning": None,
        "stdout": "",
        "left_over": [],
        "run_id": log.run,
        "input_digest": digest,
        "superseded": superseded,
        "sequence": log.view.length,
        "pending": [],
        "problem": None,
        "decisions": Overwrite({}),
        "seed": secrets.randbits(32) if opened is None else opened.seed,
        "started": time.time() if opened is None else opened.now,
    }
    if state.get("content"):  # of an earlier run of the thread
        fresh["content"] = []
    if (program := log.view.programs.get(1)) is not None:
        return {**fresh, **take_program(program, fresh)}
    if code is not None:
        emit(AttemptEvent(type="attempt", number=1))
        bare_program = bare(code)
        return {**fresh, "program": bare_program, "attempts": add_attempt([], bare_program, "")}
    request = request_message(task, None if return_type is None else return_type.text(await parts.signatures()))
    tools = state.get("found") or []
    prefix, _ = await write_prefix(parts, config, task=task, found=tools, prompts=[])
    return {**fresh, **await write_program(request, prefix, parts, config, fresh)}


async def _end(log: RunLog, opened: float, config: RunnableConfig) -> str | None:
    """Return how a run of the same input ended; None where the input goes on with it."""
    if place_of(config).is_one_run:
        return None
    if log.view.closed is not None:
        return None if await is_second_delivery(log.run, config) else log.view.closed
    if await input_time(opened, config=config) - opened > REJOIN_FOR:
        return "superseded"
    # Where no checkpoint had its end when it ended, it is still open. Who goes back to before it has seen that end.
    if not place_of(config).is_fork:
        return None
    return next(iter(await saved_verdicts(log.run, config) & {"ok", "exhausted"}), None)


async def _is_unfinished(state: CodeModeState, config: RunnableConfig) -> bool:
    """Tell whether a thread was cut off in its run: also in one that is closed, but whose result nobody has."""
    if state.get("verdict") in ("ok", "exhausted"):
        return False
    return await input_time(state["started"], config=config) - state["started"] < REJOIN_FOR


async def _close(log: RunLog, how: str) -> None:
    """Close an earlier run of the thread, if it is open: the thread has another input now."""
    await log.read()
    if log.view.opened is not None and log.view.closed is None:
        log.add(Closed(how=how))
        with suppress(SessionLost):  # somebody has answered it at this moment, and goes on with it
            await log.flush()


def bare(code: str) -> str:
    """Return the program in a text that a caller gives as one, as `program_of` finds it."""
    return program_of(code)
