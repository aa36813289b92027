"""Code mode as an MCP server, for agents in any language: its tools `run_code` and `run_task`, over stdio or HTTP."""

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import anyio
from mcp import types
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.context import RequestContext
from pydantic import AnyUrl, TypeAdapter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import TypedDict

from codemode_graph.api import CodeMode
from codemode_graph.errors import CodeModeError
from codemode_graph.events import Event
from codemode_graph.exact import encode_fields
from codemode_graph.integrations.answer import answer_text
from codemode_graph.integrations.langchain import task_description, task_schema
from codemode_graph.metrics import Metrics
from codemode_graph.model import program_tool_description
from codemode_graph.options import Approve
from codemode_graph.preview import sample
from codemode_graph.result import RunResult
from codemode_graph.tools.signatures import Signatures

__all__ = ["RunReport", "create_http_app", "create_mcp_server"]

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
    cm: CodeMode, *, tasks: bool, name: str = "codemode", version: str | None = None
) -> Server[Any, Any]:
    """Make a server that runs the programs that its clients' models write, and does tasks.

    Calls that wait for a person reach the client as elicitations, the events of a run as progress notifications.

    Args:
        cm: Runs the programs. It has to stay open as long as the server runs.
        tasks: Offer `run_task`, too, which needs the model of `cm`.
        name: The server's name.
        version: Its version; None gives the MCP SDK's.

    Returns:
        The server, not running.
    """
    server: Server[Any, Any] = Server(name, version)

    @server.list_tools()  # type: ignore[no-untyped-call,untyped-decorator]
    async def list_tools() -> list[types.Tool]:
        # To ask a sandbox may start it, which takes seconds; the event loop has other clients.
        capabilities = await asyncio.to_thread(lambda: cm.sandbox.capabilities)
        returns = None if cm.returns is None else cm.returns.text(Signatures.of(cm.tools))
        described = {"run_code": program_tool_description(cm.catalogue.text(), capabilities, returns=returns)}
        if tasks:
            described["run_task"] = task_description(cm.tools)
        return [_tool(cm, tool, text) for tool, text in described.items()]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        approve = _approve_at(server.request_context)
        async with _Notifications(server.request_context) as watcher:
            if tool == "run_code":
                code, after = arguments["code"], arguments.get("after")
                return _call_result(await cm.run_code(code, watcher, after=after, approve=approve))
            if tool == "run_task" and tasks:
                return _call_result(await cm.run(arguments["task"], watcher, approve=approve))
        raise ValueError(f"unknown tool {tool!r}")

    return server


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


def _tool(cm: CodeMode, name: str, description: str) -> types.Tool:
    # What a tool's name alone says is no promise to others.
    effects = {"write" if spec.undeclared else spec.effect_in_force for spec in cm.tools}
    return types.Tool(
        name=name,
        description=description,
        inputSchema=_INPUTS[name],
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
    report = RunReport(
        success=result["success"],
        output=result["output"],
        error=result["error"],
        warning=result["warning"],
        program=result["program"],
        stdout=result["stdout"],
        tool_calls=[
            ReportedCall(tool=call["tool"], arguments=call["arguments"], status=call["status"])
            for call in result["tool_calls"]
        ],
        run_id=result["run_id"],
    )
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
    """

    def __init__(self, context: RequestContext[ServerSession, Any, Any]) -> None:
        self._session, self._request = context.session, str(context.request_id)
        self._token = context.meta.progressToken if context.meta else None
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


# A form is shown again where its answer cannot be read; a client that answers by itself must not loop for ever.
_TRIES = 3


def _approve_at(context: RequestContext[ServerSession, Any, Any]) -> Approve | None:
    """Return what asks the person at the client that made a request; None where the client cannot ask."""
    able = types.ClientCapabilities(elicitation=types.ElicitationCapability())
    return _Elicitation(context) if context.session.check_client_capability(able) else None


class _Elicitation:
    def __init__(self, context: RequestContext[ServerSession, Any, Any]) -> None:
        self._session, self._request = context.session, context.request_id

    async def __call__(self, request: Any) -> Any:
        if not (isinstance(request, dict) and "action_requests" in request):
            return await self._question(request)
        allowed = {config["action_name"]: config["allowed_decisions"] for config in request["review_configs"]}
        problem = request.get("problem")
        decisions = [
            {**await self._decision(action, allowed[action["name"]], problem), "id": action["id"]}
            for action in request["action_requests"]
        ]
        return {"decisions": decisions}

    async def _decision(self, action: Mapping[str, Any], allowed: list[str], problem: str | None) -> dict[str, Any]:
        for _ in range(_TRIES):
            message = action["description"] if problem is None else f"{problem}. {action['description']}"
            answer = await self._session.elicit_form(message, _form(action, allowed), self._request)
            if answer.action != "accept" or not answer.content:
                break
            try:
                return _read_form(action, answer.content)
            except ValueError as error:
                problem = str(error)
        # Nobody may be taken to have approved a call, and the policy leaves no other way to say no.
        if "reject" not in allowed:
            raise CodeModeError(f"nobody decided on the call of {action['name']!r}, which may not be rejected")
        return {"type": "reject", "message": "nobody decided"}

    async def _question(self, question: Any) -> Any:
        text = question if isinstance(question, str) else json.dumps(question, ensure_ascii=False, default=str)
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
        answer = await self._session.elicit_form(text, schema, self._request)
        return answer.content["answer"] if answer.action == "accept" and answer.content else None


def _form(action: Mapping[str, Any], allowed: list[str]) -> dict[str, Any]:
    """Return the form for a decision. MCP's forms are flat, so that changed arguments are JSON text."""
    fields: dict[str, Any] = {"decision": {"type": "string", "enum": allowed, "title": f"Call {action['name']}?"}}
    if "reject" in allowed or "respond" in allowed:
        fields["message"] = {
            "type": "string",
            "title": "Reason, or response",
            "description": "To reject: why. To respond: what the program is given in place of the tool's result.",
        }
    if "edit" in allowed:
        fields["arguments"] = {
            "type": "string",
            "title": "Arguments, to edit",
            "description": "As JSON.",
            "default": json.dumps(action["args"], ensure_ascii=False),
        }
    return {"type": "object", "properties": fields, "required": ["decision"]}


def _read_form(action: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decision that a form holds.

    Raises:
        ValueError: The arguments are no JSON object.
    """
    # Clients may send a form unchecked; what is no decision is refused where it is read, and asked again.
    decision = {"type": content.get("decision")}
    if decision["type"] != "edit":
        return {**decision, "message": content.get("message") or ""}
    try:
        arguments = json.loads(str(content.get("arguments")))
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments are not JSON ({error})") from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments are not a JSON object")
    return {**decision, "edited_action": {"name": action["name"], "args": arguments}}


def create_http_app(server: Server[Any, Any], *, token: str | None, hosts: list[str] | None = None) -> Starlette:
    """Make the ASGI application that serves `server` at `/mcp`.

    Args:
        server: The server, from `create_mcp_server`.
        token: The bearer token that a client has to send; None admits everybody who reaches the application.
        hosts: Accepted values of the `Host` header, such as `localhost:*`, so that no web page can reach a server on its
            reader's machine (DNS rebinding); None accepts any.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=hosts is not None,
        allowed_hosts=hosts or [],
        allowed_origins=[f"http://{host}" for host in hosts or []],
    )
    manager = StreamableHTTPSessionManager(server, security_settings=security)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    endpoint: ASGIApp = _Endpoint(manager)
    middleware = []
    if token is not None:
        endpoint = RequireAuthMiddleware(endpoint, [])
        middleware = [Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_OneToken(token)))]
    return Starlette(routes=[Route("/mcp", endpoint)], middleware=middleware, lifespan=lifespan)


class _Endpoint:
    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


class _OneToken:
    """Accepts one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        # Not `==`: the time that it takes would tell how much of a guess is right.
        same = hmac.compare_digest(token.encode(), self._token)
        return AccessToken(token=token, client_id="client", scopes=[]) if same else None
