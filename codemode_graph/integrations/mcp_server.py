"""Code mode as an MCP server, for agents in any language: its tools `run_code` and `run_task`, over stdio or HTTP."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import anyio
import jsonschema
from mcp import types
from pydantic import AnyUrl, TypeAdapter
from typing_extensions import TypedDict

from codemode_graph.api import CodeMode
from codemode_graph.errors import UnknownRun
from codemode_graph.events import Event
from codemode_graph.exact import encode_fields
from codemode_graph.integrations.answer import answer_text, effects
from codemode_graph.integrations.elicitation import Elicitation
from codemode_graph.integrations.langchain import task_description, task_schema
from codemode_graph.integrations.mcp_http import DISCONNECT_KEY, client_of
from codemode_graph.integrations.monitor import CallRecord, Monitor
from codemode_graph.integrations.slots import CallSlots, ClientDisconnected, Refused, Slot, Stopped
from codemode_graph.mcp_sdk import McpServer, RequestContext, create_server, field, progress_token
from codemode_graph.metrics import Metrics
from codemode_graph.model import program_tool_description
from codemode_graph.preview import sample
from codemode_graph.result import RunResult
from codemode_graph.tools.spec import ToolSpec

__all__ = ["RunReport", "create_mcp_server"]

_ADVICE = "To repair it, call `run_code` with a better program and after={!r}: what took effect is then not done again."


class ReportedCall(TypedDict):
    """A tool call of a run."""

    tool: str
    arguments: dict[str, Any]
    status: str


class RunReport(TypedDict):
    """The result of a run, as a client gets it in `structuredContent`."""

    success: bool
    output: Any
    error: str | None
    warning: str | None
    program: str
    stdout: str
    tool_calls: list[ReportedCall]
    run_id: str | None


def create_mcp_server(
    cm: CodeMode,
    *,
    tasks: bool,
    name: str = "codemode",
    version: str | None = None,
    slots: CallSlots | None = None,
    monitor: Monitor | None = None,
    metadata: Mapping[str, Any] | None = None,
    advice: str = "",
) -> McpServer:
    """Make a server that runs the programs that its clients' models write, and does tasks.

    Calls that wait for a person reach the client as elicitations, the events of a run as progress notifications. A request
    that is cancelled, or whose client hangs up, ends its run.

    Args:
        cm: Runs the programs. It has to stay open as long as the server runs.
        tasks: Offer `run_task`, too, which needs the model of `cm`.
        name: The server's name.
        version: Its version; None gives the MCP SDK's.
        slots: Bounds the calls that run at one time. `CallSlots.close` ends them, and their clients are told so.
        monitor: Counts and logs the calls.
        metadata: JSON values to keep with each run.
        advice: A sentence for the client of a call that was stopped: how its run goes on. `{}` in it is the run's id.

    Returns:
        The server, not running.
    """
    calls = _Calls(
        cm=cm, slots=slots or CallSlots(), monitor=monitor or Monitor(), metadata=metadata, advice=advice or _STOPPED
    )

    names = ("run_code", "run_task") if tasks else ("run_code",)
    validators = {tool: jsonschema.Draft202012Validator(_INPUTS[tool]) for tool in names}

    async def list_tools() -> list[types.Tool]:
        # To ask a sandbox may start it, which takes seconds; the event loop has other clients.
        capabilities = await asyncio.to_thread(lambda: cm.sandbox.capabilities)
        expected, catalogue = cm.returns, await cm.known_catalogue()
        signatures = await asyncio.to_thread(lambda: catalogue.signatures)
        returns = None if expected is None else expected.text(signatures)
        cards = await asyncio.to_thread(catalogue.text)
        described = {"run_code": program_tool_description(cards, capabilities, returns=returns)}
        if tasks:
            described["run_task"] = task_description(cm.tools)
        offered = [_tool(tool, text, _INPUTS[tool], cm.tools) for tool, text in described.items()]
        saved = [spec for spec in cm.tools if spec.program and spec.name not in described]
        return [*offered, *(_tool(spec.name, spec.description, spec.input_schema, [spec]) for spec in saved)]

    async def call_tool(name: str, arguments: dict[str, Any], context: RequestContext) -> types.CallToolResult:
        try:
            if name in validators:
                if error := jsonschema.exceptions.best_match(validators[name].iter_errors(arguments)):
                    return _error_result(f"Input validation error: {error.message}")
                return await calls.answer(name, arguments, context)
            if not any(spec.program and spec.name == name for spec in cm.tools):
                return _error_result(f"unknown tool {name!r}")
            return await calls.answer("run_code", {"code": cm.programs.call(name, arguments)}, context)
        except Exception as problem:
            return _error_result(str(problem))

    return create_server(name, version, list_tools=list_tools, call_tool=call_tool)


_STOPPED = "Do not ask again for what took effect: this server keeps no runs."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """Answers the calls of clients."""

    cm: CodeMode
    slots: CallSlots
    monitor: Monitor
    metadata: Mapping[str, Any] | None
    advice: str

    async def answer(self, tool: str, arguments: Mapping[str, Any], context: RequestContext) -> types.CallToolResult:
        run_id = arguments.get("after") or uuid.uuid4().hex[:16]
        started = time.monotonic()
        fields = {name: arguments[name] for name in ("task", "after") if name in arguments}
        record = self.monitor.begin(tool, run_id, _client(context), **fields)
        scope = context.request.scope if context.request is not None else {}
        outcome, details = "error", {}

        async def work(slot: Slot) -> RunResult:
            return await self._run(tool, arguments, context, slot, record)

        try:
            result = await self.slots.run(work, disconnected=scope.get(DISCONNECT_KEY))
            outcome = "ok" if result["success"] else "waits" if result.trace.pending else "failed"
            details = {"error": result["error"]}
            return _call_result(result)
        except Refused as refusal:
            outcome = "refused"
            return _error_result(str(refusal))
        except Stopped as stop:
            outcome = "stopped"
            return _error_result(await self._describe_stop(record, str(stop)))
        except ClientDisconnected as gone:
            # Not a cancellation: out of a handler, that would end the session, which the client may go on with.
            outcome = "gone"
            await self._complete(record)
            return _error_result(str(gone))
        except asyncio.CancelledError:
            outcome = "cancelled"
            with anyio.CancelScope(shield=True):
                await self._complete(record)
            raise
        except Exception as error:
            details = {"error": str(error)}
            raise
        finally:
            self.monitor.end(record, outcome, time.monotonic() - started, **details)

    async def _run(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        context: RequestContext,
        slot: Slot,
        record: CallRecord,
    ) -> RunResult:
        elicit = Elicitation(context, slot.pause) if Elicitation.can_ask(context.session) else None

        async def decide(request: Any) -> Any:
            assert elicit is not None
            answer = await elicit(request)
            for decision in answer["decisions"] if isinstance(answer, dict) and "decisions" in answer else ():
                record.write("decision", **{name: decision[name] for name in ("id", "type")})
            return answer

        approve = None if elicit is None else decide
        async with _Notifications(context, lambda event: self.monitor.note(record, event)) as watcher:
            if arguments.get("after"):
                return await self.cm.run_code(arguments["code"], watcher, after=arguments["after"], approve=approve)
            how: dict[str, Any] = {"approve": approve, "run_id": record.run, "metadata": self.metadata}
            if tool == "run_task":
                return await self.cm.run(arguments["task"], watcher, **how)
            return await self.cm.run_code(arguments["code"], watcher, **how)

    async def _complete(self, record: CallRecord) -> RunResult | None:
        """Return what is recorded of a call that was cut short, and log the rest of it; None where it had not begun."""
        try:
            result = await self.cm.result(record.run)
        except UnknownRun:
            return None
        self.monitor.complete(record, result["tool_calls"])
        return result

    async def _describe_stop(self, record: CallRecord, reason: str) -> str:
        result = await self._complete(record)
        if result is None:
            return f"{reason}, and nothing was run: try again in a moment"
        return f"The program was stopped: {reason}. {effects(result['tool_calls'])} {self.advice.format(record.run)}"


def _client(context: RequestContext) -> dict[str, Any]:
    """Return who makes a request: what it says of itself, and where it comes from."""
    about = field(context.session.client_params, "clientInfo") if context.session.client_params else None
    address, user = client_of(context.request.scope if context.request is not None else {})
    name, version = (about.name, about.version) if about else (None, None)
    return {"name": name, "version": version, "address": address, "user": user}


def _error_result(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=True)


_INPUTS: Mapping[str, dict[str, Any]] = {
    "run_code": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "The whole program."},
            "after": {"type": "string", "description": "The `run_id` of the failed run that this program repairs."},
        },
        "required": ["code"],
        "additionalProperties": False,
    },
    "run_task": task_schema(),
}


def _tool(name: str, description: str, arguments: Mapping[str, Any], called: Iterable[ToolSpec]) -> types.Tool:
    """Return a tool of the server, whose calls may call these tools."""
    # What a tool's name alone says is no promise to others.
    effects = {"write" if spec.undeclared else spec.effect_in_force for spec in called}
    return types.Tool(
        name=name,
        description=description,
        inputSchema=dict(arguments),
        outputSchema=TypeAdapter(RunReport).json_schema(),
        annotations=types.ToolAnnotations(
            # A program may call any of the tools, so the hints are those of the worst.
            readOnlyHint=effects <= {"read"},
            destructiveHint="destructive" in effects,
            idempotentHint=effects <= {"read", "idempotent"},
        ),
    )


def _call_result(result: RunResult) -> types.CallToolResult:
    """Return a run's result as a client takes it: text for its model, and the report as structured content."""
    report: dict[str, Any] = {name: result[name] for name in RunReport.__annotations__}
    report["tool_calls"] = [
        {name: call[name] for name in ReportedCall.__annotations__} for call in report["tool_calls"]
    ]
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text=answer_text(result, advice=_ADVICE.format(result["run_id"]))),
            *map(_content, result["content"]),
        ],
        # JSON of other languages, and pydantic, make null of NaN and cut integers.
        structuredContent=encode_fields(report),
        isError=not report["success"],
    )


def _content(block: dict[str, Any]) -> types.ContentBlock:
    """Return a content block of LangChain's in the form of MCP."""
    data, kind = block["base64"], block["mime_type"]
    if block["type"] == "image":
        return types.ImageContent(type="image", data=data, mimeType=kind)
    if block["type"] == "audio":
        return types.AudioContent(type="audio", data=data, mimeType=kind)
    # The address is that of no server: the data are here.
    uri = AnyUrl(f"artifact:{quote(block['id'])}")
    return types.EmbeddedResource(
        type="resource", resource=types.BlobResourceContents(uri=uri, mimeType=kind, blob=data)
    )


class _Notifications:
    """Sends the events of a run to the client that asked for it, where the client wants progress.

    A `Watcher`, to be entered for the time of the run. Leaving it waits until every event has been sent.

    Args:
        context: The request.
        note: Called with each event, too.
    """

    def __init__(self, context: RequestContext, note: Callable[[Event], None]) -> None:
        self._note = note
        self._session, self._request = context.session, str(context.request_id)
        self._token = progress_token(context)
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._messages.put_nowait(None)
        try:
            await self._sending
        finally:
            self._sending.cancel()

    def show(self, event: Event) -> None:
        """Queue an event: sending waits for the client, and the run must not."""
        self._note(event)
        if self._token is not None and (message := _describe(event)):
            self._messages.put_nowait(message)

    def stop(self) -> None:
        """Send nothing where a run waits: the elicitation says it."""

    def end(self, used: Metrics) -> None:
        """Send nothing at the end: the result says it."""

    async def _send(self) -> None:
        number = 0
        while (message := await self._messages.get()) is not None:
            number += 1
            assert self._token is not None
            # The client may have gone. The SDK cancels its request then, which ends the run.
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._session.send_progress_notification(
                    self._token, float(number), message=message, related_request_id=self._request
                )


def _describe(event: Event) -> str | None:
    """Return an event in a few words; None for one that says nothing to a person who waits."""
    match event["type"]:
        case "attempt":
            return f"attempt {event['number']}"
        case "check":
            return "\n".join(finding["message"] for finding in event["findings"]) or "checked"
        case "call_started":
            return f"calling {event['tool']} with {sample(event['arguments'], limit=100)}"
        case "call_finished":
            error = event["error"]
            return f"{event['tool']}: {error['message'] if error else 'done'}"
        case "call_answered":
            return f"{event['tool']} answered from the journal"
        case "call_pending":
            return f"{event['tool']} waits for a person"
        case "outcome" if event["error"]:
            return str(event["error"]["message"])
    return None
