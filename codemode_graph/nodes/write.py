"""Asking the model for a program: what generate and repair have in common."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from codemode_graph.calls.log import Proposed
from codemode_graph.catalogue import Catalogue
from codemode_graph.errors import ConfigurationError
from codemode_graph.events import AttemptEvent, ModelEvent, emit
from codemode_graph.model import example_messages, is_unchanged, system_message, tools_message
from codemode_graph.model.ask import ask, with_variety
from codemode_graph.nodes.causes import join_failures
from codemode_graph.nodes.learn import with_observed
from codemode_graph.nodes.node import Update, add_attempt, request_seconds
from codemode_graph.settings import Parts
from codemode_graph.state import Failure, ModelCall, Prompt
from codemode_graph.tools.callbacks import tagged


def take_program(program: Proposed, state: Mapping[str, Any]) -> Update:
    """Begin an attempt with a program that the journal has: its run was cut off after it had been written.

    Args:
        program: The program.
        state: The attempts and the model calls so far.
    """
    emit(AttemptEvent(type="attempt", number=len(state["attempts"]) + 1))
    call = [] if program.usage is None else [program.usage]
    attempts = add_attempt(state["attempts"], program.program, program.thoughts)
    update: Update = {"verdict": None, "error": None, "program": program.program, "attempts": attempts}
    return {**update, "usage": [*state["usage"], *call]}


class Prefix(NamedTuple):
    """The prompt before the task, which the requests of a run have in common: a provider reads it once.

    Attributes:
        system: The system message.
        tools: The tools.
        catalogue: A digest of the tools as they declare themselves.
    """

    system: str
    tools: str
    catalogue: str


async def write_prefix(
    parts: Parts, config: RunnableConfig, *, task: str, found: Sequence[str], prompts: Sequence[Prompt]
) -> tuple[Prefix, Catalogue]:
    """Return what a request to the model begins with, and the tools with what is seen of them by now.

    Args:
        parts: The graph's parts.
        config: Callbacks and tags.
        task: What is to be done, by which cards are chosen where there are many tools.
        found: Tools that a search of the run has found.
        prompts: The prompts of the run so far.

    Raises:
        ConfigurationError: The graph has no model.
    """
    if parts.model is None:
        raise ConfigurationError("this graph was made without a model: give it `code` to run, or make it with `model=`")
    catalogue = (await with_observed(parts, config)).catalogue
    system = system_message(await parts.capabilities(), structured=parts.structured, instructions=parts.instructions)
    last = next((prompt for prompt in reversed(prompts) if "system" in prompt), None)

    def read() -> Prefix:
        # What calls have returned since is told behind the task: were it in the cards, every repair would read them all anew.
        # Tools that declare themselves otherwise by now, in another process or after a change of a server, have new cards.
        digest = catalogue.digest
        if last is not None and last.get("catalogue") == digest and last["system"].startswith(f"{system}\n\n"):
            return Prefix(system, last["system"].removeprefix(f"{system}\n\n"), digest)
        return Prefix(system, tools_message(catalogue.text(task, names=found)), digest)

    # Cards of a thousand tools take a second, which the event loop has not.
    return await asyncio.to_thread(read), catalogue


async def write_program(
    request: str,
    prefix: Prefix,
    parts: Parts,
    config: RunnableConfig,
    state: Mapping[str, Any],
) -> Update:
    """Ask the model, and begin an attempt with what it wrote.

    Args:
        request: The user message.
        prefix: The prompt before it.
        parts: The graph's parts.
        config: Callbacks and tags.
        state: The attempts, the model calls, their prompts and the tool calls so far.
    """
    assert parts.model is not None, "write_prefix has looked"
    attempts, usage, prompts = state["attempts"], state["usage"], state.get("prompts", [])
    number = len(attempts) + 1
    emit(AttemptEvent(type="attempt", number=number))
    messages = [
        SystemMessage(prefix.system),
        *example_messages(structured=parts.structured),
        HumanMessage(f"{prefix.tools}\n\n# Task\n\n{request}"),
    ]
    prompt = Prompt(attempt=number, request=request)
    # It is the longest part of the state, and the same in each attempt unless the tools change.
    shown = f"{prefix.system}\n\n{prefix.tools}"
    if shown != next((before["system"] for before in reversed(prompts) if "system" in before), None):
        prompt["system"], prompt["catalogue"] = shown, prefix.catalogue
    config = tagged(config, attempt=number)
    answer = await ask(
        with_variety(parts.model) if attempts and is_unchanged(attempts) else parts.model,
        messages,
        structured=parts.structured,
        timeout=request_seconds(parts, attempts, usage),
        config=config,
    )
    call = ModelCall(
        attempt=number,
        model=answer.model,
        input_tokens=answer.usage["input_tokens"],
        output_tokens=answer.usage["output_tokens"],
        total_tokens=answer.usage["total_tokens"],
        seconds=answer.seconds,
    )
    emit(ModelEvent(type="model", **call, thoughts=answer.thoughts, error=answer.error))
    update: Update = {"usage": [*usage, call], "prompts": [*prompts, prompt], "verdict": None, "error": None}
    if answer.error is not None:
        failure = Failure(kind="model", type="ModelError", message=answer.error, line=None, traceback="")
        return {**update, "verdict": "error", "error": join_failures(attempts, failure, state["tool_calls"])}
    attempts = add_attempt(attempts, answer.program, answer.thoughts)
    if answer.finding is not None:
        attempts[-1]["findings"] = [answer.finding]
    return {**update, "program": answer.program, "attempts": attempts}
