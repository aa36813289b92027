"""Calling a tool, and saying how the call ended.

A tool may ask a person itself, by LangGraph's `interrupt()`. LangGraph starts a node again from its beginning when it is
answered, and `interrupt()` returns the answers in order. The same holds here for a tool: its call waits, and when it has
been answered that one tool is started again, as the only node of a graph of its own that has been given the answers.
"""

import asyncio
import builtins
import inspect
import json
import pickle
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from traceback import walk_tb
from typing import Any, TypeAlias

from codemode_sandboxes import Limits, Outcome, Raised, Returned
from codemode_sandboxes.guest.json_values import clean_text, to_json
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import RESUME
from langgraph.errors import GraphInterrupt, is_invalid_resume
from langgraph.graph import START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Interrupt

from codemode_graph.calls.log import Done, Failed, Unknown
from codemode_graph.calls.transport import may_have_taken_effect
from codemode_graph.calls.values import LOAD_VALUE, Values, is_reference
from codemode_graph.calls.view import Record, View
from codemode_graph.errors import ToolOutcomeUnknown, UnusableResult
from codemode_graph.events import CallFields, CallFinishedEvent, CallStartedEvent, emit, logger
from codemode_graph.exact import encode
from codemode_graph.redact import mask, redact
from codemode_graph.state import CodeModeState, Question, ToolCallStatus, ToolError
from codemode_graph.tools.artifacts import handles_in, is_plain, with_artifacts, with_data
from codemode_graph.tools.callbacks import masked, secrets_in, tagged, without_data
from codemode_graph.tools.hints import plain_object, to_plain
from codemode_graph.tools.results import CommandRefused, Updated, to_json_update
from codemode_graph.tools.schema import Document
from codemode_graph.tools.spec import CutOffCall, ToolSpec

_NESTED = (
    "the tool runs a graph that stops to ask somebody, and a program cannot wait for that: let the tool's policy ask for "
    "approval, or call interrupt() in the tool itself"
)
# Seconds before a read is made again; each further pause is twice as long.
_FIRST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Asks:
    """A tool asks a person. `again` says that it could not take the last answer."""

    question: Question
    again: bool = False


Ending: TypeAlias = Done | Failed | Unknown | Asks
"""How a call ended, or what its tool asks."""


class _ToolAsks(Exception):
    """A tool called `interrupt()`."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(interrupt)
        self.interrupt = interrupt


class _InvalidAnswer(Exception):
    """The last answer does not match the `response_schema` of the tool."""


class _TooLate(Exception):
    """The time of the tool's policy ran out."""


# What an equal call would meet again, so that it is not made again.
_FINAL = (
    TypeError,
    ValueError,
    LookupError,
    PermissionError,
    _ToolAsks,
    _InvalidAnswer,
    CommandRefused,
    UnusableResult,
)


@dataclass(slots=True, kw_only=True)
class ToolCalls:
    """Makes the calls of one program.

    Attributes:
        values: Where values are kept that the record only refers to.
        limits: Bounds the size of a value.
        config: Callbacks and tags for the tools.
        state: What a tool finds as the state of the graph.
        observe: Is told of each result: the tool's name, and the value.
    """

    values: Values
    limits: Limits
    config: RunnableConfig
    state: CodeModeState
    observe: Callable[[str, Any], None] | None = None
    _secrets: set[str] = field(default_factory=set)

    def note(self, value: Any, names: Collection[str]) -> None:
        """Remember what a value has under names that a policy redacts."""
        if names:
            self._secrets |= secrets_in(value, names)

    def hide(self, text: str) -> str:
        """Return text without what has been noted."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text

    async def make(self, spec: ToolSpec, record: Record, arguments: Mapping[str, Any]) -> tuple[Ending, Outcome | None]:
        """Call a tool.

        Args:
            spec: The tool.
            record: What has been recorded of the call.
            arguments: What it is called with.

        Returns:
            How it ended, and what the program is told; None where that depends on what a person answers.

        Raises:
            asyncio.CancelledError: The call was given up; `give_up` says how it ended.
        """
        event = record.event
        fields = CallFields(id=record.id, tool=event.tool, arguments=event.arguments)
        self.note(arguments, spec.policy.redact)
        emit(CallStartedEvent(type="call_started", **fields, line=event.line))
        ending, outcome = await self._end(spec, record, arguments)
        self.report(fields, record, ending)
        return ending, outcome

    def report(self, fields: CallFields, record: Record, ending: Ending) -> None:
        """Send the event that says how a call ended."""
        status: ToolCallStatus = "interrupted" if isinstance(ending, Asks) else ending.type
        seconds = 0.0 if isinstance(ending, Asks) else max(0.0, ending.time - record.event.time)
        error = None if isinstance(ending, Asks) else ending.error
        emit(CallFinishedEvent(type="call_finished", **fields, status=status, seconds=seconds, error=error))

    def give_up(
        self, spec: ToolSpec, record: Record, why: str = "the call was given up before it ended"
    ) -> Failed | Unknown:
        """Say how a call ended whose tool was cancelled."""
        ending = self._cut_off(spec, record, ToolError(type="RuntimeError", message=why))
        self.report(CallFields(id=record.id, tool=spec.name, arguments=record.event.arguments), record, ending)
        return ending

    def cancelled(self, spec: ToolSpec, record: Record) -> tuple[Ending, Outcome | None]:
        """Say how a call ended that nobody here cancelled: the tool's own library did, and that is the tool's failure."""
        return self._with_outcome(self.give_up(spec, record, f"{spec.name} was cancelled from within"))

    async def _end(self, spec: ToolSpec, record: Record, arguments: Mapping[str, Any]) -> tuple[Ending, Outcome | None]:
        try:
            ending, outcome = await self.take(spec, record, await self._call(spec, record, arguments))
            if self.observe is not None and isinstance(outcome, Returned):
                self.observe(spec.name, outcome.value)
            return ending, outcome
        except _TooLate:
            message = f"{spec.name} did not answer within {spec.policy.timeout:g} seconds"
            return self._with_outcome(self._cut_off(spec, record, ToolError(type="TimeoutError", message=message)))
        except _ToolAsks as stop:
            return self._asks(spec, record, stop.interrupt)
        except _InvalidAnswer:
            question = record.event.asks
            assert question is not None  # only a tool that has asked is given an answer
            return Asks(question, again=True), None
        except CommandRefused as problem:
            return self._with_outcome(Done(call=record.index, time=time.time(), error=show(problem, spec, arguments)))
        except UnusableResult as problem:
            return self._with_outcome(
                await self._unusable(spec, record, problem.result, show(problem, spec, arguments))
            )
        except Exception as problem:
            cause = problem.__cause__ if isinstance(problem, ToolOutcomeUnknown) and not spec.has_effect else None
            error = show(cause or problem, spec, arguments)
            if spec.has_effect and may_have_taken_effect(problem, spec.policy.unknown_on):
                return self._with_outcome(Unknown(call=record.index, time=time.time(), error=error))
            return self._with_outcome(Failed(call=record.index, time=time.time(), error=error))

    def _with_outcome(self, ending: Done | Failed | Unknown) -> tuple[Ending, Outcome | None]:
        if ending.error is None:
            return ending, None
        error = ToolError(type=ending.error["type"], message=self.hide(ending.error["message"]))
        return replace(ending, error=error), Raised(**error)

    def _cut_off(self, spec: ToolSpec, record: Record, error: ToolError) -> Failed | Unknown:
        kind = Unknown if spec.has_effect else Failed
        return kind(call=record.index, time=time.time(), error=error)

    async def _unusable(self, spec: ToolSpec, record: Record, returned: object, error: ToolError) -> Done:
        """Return the end of a call whose result no program can use: the error says where its text is kept."""
        most = spec.policy.max_result_bytes or self.limits.value_bytes
        message = error["message"]
        if not message.startswith(spec.name):
            message = f"what {spec.name} returned cannot be used: {message}"
        message = f"{message}. The call has been made and counts as done, so do not make it in another way"
        reference = None
        # Whatever the text needs as JSON, it can be loaded: a character takes at most six bytes.
        if returned is not None and (text := _text_of(returned)):
            shown = text[: max(1, (most - 2) // 6)]
            with suppress(Exception):  # the call was made all the same
                # What is no data has no names by which something in it could be masked.
                reference = await self.values.keep(shown, shown="", secret=bool(spec.policy.redact), apart=True)
        if is_reference(reference):
            part = "" if len(shown) == len(text) else f" the first {len(shown):,} characters of"
            message += (
                f". If you need the result, `await tools['load_value'](handle={reference['codemode_reference']!r})` returns"
                f"{part} its text: parse that"
            )
        return Done(
            call=record.index, time=time.time(), value=reference, error=ToolError(type=error["type"], message=message)
        )

    async def take(self, spec: ToolSpec, record: Record, returned: object) -> tuple[Done, Outcome]:
        """Take the value that a tool returned. One that is no data is an error in the program, though the call is done."""
        most = spec.policy.max_result_bytes or self.limits.value_bytes
        updates: list[dict[str, Any]] = []
        try:
            if isinstance(returned, Updated):
                updates = [to_json_update(update, max_bytes=most) for update in returned.updates]
                returned = returned.value
            if not is_plain(returned):
                # What a policy redacts may stand in any data, which has no names.
                returned = await self.values.keep_artifacts(
                    with_artifacts(returned), secret=bool(spec.policy.redact), most=spec.policy.max_result_bytes
                )
            value = to_json(returned, max_bytes=most, convert=plain_object, duration=to_plain)
        except (TypeError, ValueError) as problem:
            # What follows the semicolon tells the tool's author what to do, whom the program cannot reach.
            cause = str(problem).partition(";")[0]
            error = ToolError(type=_builtin(problem), message=f"{spec.name} returned no usable value: {cause}")
            done = await self._unusable(spec, record, returned, error)
            assert done.error is not None
            return done, Raised(**done.error)
        except Exception as problem:
            return self._lost(spec, record, problem)
        self.note(value, spec.policy.redact)
        shown = mask(value, spec.policy.redact)
        # NaN differs from itself, and its exact form does not.
        try:
            secret = shown is not value and encode(shown) != encode(value)
            stored = await self.values.keep(value, shown=shown, secret=secret)
        except Exception as problem:
            return self._lost(spec, record, problem)
        return Done(call=record.index, time=time.time(), value=stored, updates=updates or None), Returned(value)

    def _lost(self, spec: ToolSpec, record: Record, problem: Exception) -> tuple[Done, Outcome]:
        """Return the end of a call that was made, whose result no disk and no database would take."""
        error = show(problem, spec, {})
        error["message"] = f"what {spec.name} returned could not be kept: {error['message']}"
        return Done(call=record.index, time=time.time(), error=error), Raised(**error)

    async def _with_data(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return arguments with artifacts in place of their handles, in the form that the tool's schema asks for.

        Raises:
            ValueError: There is no artifact with such a handle.
        """
        if spec.source == LOAD_VALUE.source:
            return arguments
        schema, found = spec.input_schema, dict[str, Any]()
        for name, value in arguments.items():
            if next(handles_in(value), None) is not None:
                try:
                    found |= await with_data({name: value}, schema, Document(schema), self.values.artifact)
                except KeyError:
                    problem = f"the argument {name!r} of {spec.name}: there is no artifact with this handle"
                    raise ValueError(problem) from None
        return {**arguments, **found} if found else arguments

    async def _call(self, spec: ToolSpec, record: Record, arguments: Mapping[str, Any]) -> Any:
        names, event = spec.policy.redact, record.event
        filled = await self._with_data(spec, arguments)
        has_data = filled is not arguments
        # A LangChain tool reports its arguments itself, data and all.
        is_hidden = bool(names) or (has_data and spec.source == "langchain")
        call = masked(spec.name, spec.call, names, description=spec.description) if is_hidden else spec.call
        metadata: dict[str, Any] = {
            "id": record.id,
            "attempt": event.attempt,
            "line": event.line,
            "effect": event.effect,
        }
        if event.key is not None:
            metadata["idempotency_key"] = event.key
        config = tagged(self.config, **metadata)
        tries = 1 if spec.has_effect else 1 + spec.policy.retries
        for number in range(1, tries + 1):
            deadline = asyncio.timeout(spec.policy.timeout)
            try:
                async with deadline:
                    # The call is in a task of its own, so nothing else sees this.
                    with without_data(arguments) if has_data else nullcontext():
                        if event.answers:
                            return await _call_with_answers(call, dict(filled), config, self.state, event.answers)
                        return await _call(call, dict(filled), config)
            except Exception as problem:
                if event.answers and is_invalid_resume(problem):
                    raise _InvalidAnswer from problem
                if isinstance(problem, _FINAL):
                    raise
                if number == tries:
                    if isinstance(problem, TimeoutError) and deadline.expired():
                        raise _TooLate from None
                    raise
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (number - 1))
        raise AssertionError("unreachable")

    def _asks(self, spec: ToolSpec, record: Record, interrupt: Interrupt) -> tuple[Ending, Outcome | None]:
        """Return what a tool asks. What is no data cannot be asked, and is an error in the program."""
        try:
            value = to_json(to_plain(interrupt.value), max_bytes=self.limits.value_bytes)
        except (TypeError, ValueError) as problem:
            error = ToolError(type=_builtin(problem), message=f"{spec.name} asks what is no data: {problem}")
            return self._with_outcome(self._cut_off(spec, record, error))
        schema = interrupt.response_schema if isinstance(interrupt.response_schema, dict) else None
        return Asks(Question(value=value, schema=schema)), None


def _text_of(returned: object) -> str:
    """Return a result that is no value as text, as far as it has one."""
    if isinstance(returned, str):
        return returned
    try:
        return json.dumps(returned, ensure_ascii=False, default=repr)
    except Exception:
        pass
    try:
        return repr(returned)
    except Exception:
        return ""


async def verify(spec: ToolSpec, record: Record, arguments: Mapping[str, Any], view: View) -> Returned | bool:
    """Ask a tool's own `verify` whether a call whose outcome is unknown took effect.

    Args:
        spec: The tool, with a `verify` in its policy.
        record: What has been recorded of the call.
        arguments: What it was called with.
        view: What has happened in the run.

    Returns:
        The call's value; False where it took no effect; True where that cannot be told, so that a person is asked.
    """
    check = spec.policy.verify
    assert check is not None
    event = record.event
    equal = view.calls[event.tool, event.digest].values()
    call = CutOffCall(
        id=record.id,
        started=event.time,
        occurrence=event.occurrence,
        idempotency_key=event.key,
        equal_done=sum(each.status == "done" and each.stands for records in equal for each in records),
    )
    try:
        found = await (check(arguments, call) if takes_call(check) else check(arguments))  # type: ignore[call-arg]
    except Exception as error:
        logger.warning("verify of %s failed, so a person is asked: %s", spec.name, redact(str(error)))
        return True
    return False if found is None else found


def takes_call(check: object) -> bool:
    """Tell whether a `verify` takes the call as its second argument; one of version 0.1.0 takes the arguments alone."""
    if not callable(check):
        return False
    parameters = inspect.signature(check).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    return len(places) > 1 or any(p.kind is p.VAR_POSITIONAL for p in places)


async def _call(call: Any, arguments: dict[str, Any], config: RunnableConfig) -> Any:
    try:
        return await call(arguments, config)
    except GraphInterrupt as stop:
        if any(
            frame.f_globals.get("__name__", "").startswith("langgraph.pregel")
            for frame, _ in walk_tb(stop.__traceback__)
        ):
            raise ToolOutcomeUnknown(_NESTED) from stop
        (interrupt,) = stop.args[0]
        raise _ToolAsks(interrupt) from None


class _ExactSerializer(JsonPlusSerializer):
    """Keeps state and answers as they are: msgpack has no integers beyond 64 bits, and replaces lone surrogates.

    The bytes never leave the memory of this process, so to unpickle them is safe.
    """

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        try:
            return "pickle", pickle.dumps(obj)
        except Exception:  # such as that of a tool, with what cannot be pickled in it
            return super().dumps_typed(obj)


async def _call_with_answers(
    call: Any, arguments: dict[str, Any], config: RunnableConfig, state: CodeModeState, answers: list[Any]
) -> Any:
    returned: list[Any] = []

    async def tool(state: CodeModeState, config: RunnableConfig) -> None:
        inside = outside.copy()
        inside["configurable"] = config["configurable"]
        returned.append(await _call(call, arguments, inside))

    outside, runtime, saver = config, get_runtime(), InMemorySaver(serde=_ExactSerializer(pickle_fallback=True))
    graph = StateGraph(CodeModeState, type(runtime.context)).add_node(tool).add_edge(START, "tool")
    app = graph.compile(checkpointer=saver, store=runtime.store, interrupt_before=["tool"])
    public = {k: v for k, v in config["configurable"].items() if not k.startswith(("__", "checkpoint_"))}
    thread: RunnableConfig = {"configurable": {"thread_id": "", **public}}
    await app.ainvoke(state, thread, context=runtime.context)
    # The tool waits to be started, and finds that its first interrupts have been answered already.
    waiting = await app.aget_state(thread)
    await saver.aput_writes(waiting.config, [(RESUME, list(answers))], waiting.tasks[0].id)
    async for event in app.astream(None, thread, context=runtime.context, stream_mode="custom"):
        runtime.stream_writer(event)
    return returned[0]


def show(error: BaseException, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolError:
    """Return an exception as a program and a model may see it: the nearest built-in type, and its message without secrets."""
    # The text of a KeyError is the repr of its argument, quotes and all.
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    # As the guests clean what a program raises: messages are text for people and models, and stay in the state.
    message = clean_text(redact(message or type(error).__name__))
    for name in spec.policy.redact:  # tools like to quote what they were called with
        for secret in _texts(arguments.get(name)):
            message = message.replace(secret, "[redacted]")
    return ToolError(type=_builtin(error), message=message)


def _texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return [str(value)] if value is not None and len(str(value)) > 1 else []


def _builtin(error: BaseException) -> str:
    # A program can catch built-in types alone: the classes of the tool's libraries are not in its sandbox.
    name = next(c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c)
    return name if name not in ("Exception", "BaseException") else "RuntimeError"
