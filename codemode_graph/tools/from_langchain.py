"""LangChain tools as tools of a program."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from traceback import walk_tb
from typing import Any, TypeAlias
from uuid import uuid4

from codemode_sandboxes.guest.json_values import to_json
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langchain_core.tools.base import get_all_basemodel_annotations
from langgraph.errors import is_invalid_resume
from pydantic import BaseModel, ValidationError
from pydantic.v1 import ValidationError as ValidationErrorV1

from codemode_graph.compat import functions_of
from codemode_graph.errors import ToolCallError, ToolLoadError, UnusableResult
from codemode_graph.tools.artifacts import Artifact, with_artifacts, with_handles
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.hints import (
    complaint,
    docs_of,
    output_schema_of,
    plain_object,
    signature_of,
    to_data,
    to_plain,
    type_hints,
)
from codemode_graph.tools.injection import injected_values, injection_in, is_config, runtime_for
from codemode_graph.tools.results import (
    block_values,
    from_blocks,
    from_commands,
    has_command,
    is_message,
    is_text_block,
    parse_json,
    parts_beside,
    with_parts,
)
from codemode_graph.tools.spec import Effect, ToolSpec, effect_from_hints, idempotency_key

_MEDIA = ("image", "image_url", "audio", "input_audio", "video", "file")

Run: TypeAlias = Callable[[dict[str, Any], RunnableConfig], Awaitable[Any]]
"""Runs a tool with a tool call, its injected arguments included, under a config, and returns the tool's result."""

Invoke: TypeAlias = Callable[[ToolCall, RunnableConfig, Run], Awaitable[Any]]
"""Runs a tool in another way: takes the program's call, its config, and a `Run`. Returns the tool's result, or a message in
its place."""


def from_langchain(tool: BaseTool, *, invoke: Invoke | None = None) -> ToolSpec:
    """Make a tool of a LangChain tool, with all that LangChain does for it.

    Each call is a run of the tool under the call's config: its arguments are validated, callbacks and traces see it. The
    value is what the tool returns, not the text that a `ToolMessage` would hold: for an artifact with
    `structured_content` (MCP adapters) that, with what stands beside it as `mcp.content.value_of` has it; for another
    artifact (`response_format="content_and_artifact"`) `{"content": ..., "artifact": ...}`; for content blocks their text,
    parsed where it is a JSON object or array. Images, sounds, files and bytes are `Artifact`s, and an artifact that is no
    data is one of its text.
    A failure that the tool reports in a message (`handle_tool_error`, `status="error"`) is raised as `ToolCallError`. Of a
    `Command` the value is the `ToolMessage` in it (see `tools.results`).

    What LangGraph injects (state, store, `ToolRuntime`, the call's id), the config, and an argument with the hint
    `IdempotencyKey` are no arguments of the tool; a program that passes them is refused. State and store are those of the
    graph that makes the call.

    LangChain's `StructuredTool` keeps the argument names `config` and `run_manager` to itself: a value for an ordinary
    argument of that name never reaches the function. Such an argument is left out where it is optional.

    Args:
        tool: The LangChain tool.
        invoke: Runs it in another way, for instance by the `ToolNode` of an agent, which then injects as well.

    Returns:
        The tool. Its effect comes from MCP annotations in its metadata, else from `infer_effect`.

    Raises:
        ToolLoadError: It needs a value that cannot reach it.
    """
    adapter = _Adapter(tool, invoke)
    effect = _effect(tool.metadata or {})
    return ToolSpec(
        name=tool.name,
        call=adapter.call,
        description=tool.description,
        input_schema=adapter.input_schema,
        output_schema=adapter.output_schema,
        effect=effect or infer_effect(tool.name, adapter.input_schema),
        declared=effect is not None,
        source="langchain",
        takes_key=bool(adapter.keys),
        validate=adapter.validate,
    )


class _Adapter:
    def __init__(self, tool: BaseTool, invoke: Invoke | None) -> None:
        self.tool, self.invoke = tool, invoke
        functions = _functions(tool)
        self.hints = [type_hints(function) for function in functions]
        declared = _annotations(tool)
        hints = {name: hint for each in (*self.hints, declared) for name, hint in each.items() if name != "return"}
        self.injected = {name: found for name, hint in hints.items() if (found := injection_in(hint))}
        self.keys = [name for name, found in self.injected.items() if found.kind == "idempotency_key"]
        schema = _visible_schema(tool)
        properties = dict(schema.get("properties") or {})
        required = [name for name in schema.get("required") or () if name in properties]
        optional = _optional(tool)
        self.optional = frozenset(name for name in self.injected if name in optional)
        configs = {name for name, hint in hints.items() if is_config(hint)}
        runnable = {"config", "run_manager"} if isinstance(tool, StructuredTool) else set[str]()
        self.hidden = {*self.injected, *configs, *runnable}
        if lost := [name for name in required if name in self.hidden - configs]:
            msg = (
                f"{tool.name}: LangChain keeps the argument name {lost[0]!r} for itself, so its value would be lost. "
                "Rename the argument, or give the function itself as a tool"
            )
            raise ToolLoadError(msg)
        unknown = [n for n, each in self.injected.items() if each.kind == "other" and n not in optional]
        if unknown:
            msg = f"{tool.name} wants {unknown[0]!r} injected, which only its author can do: give it a default"
            raise ToolLoadError(msg)
        documented = docs_of(tool.description).arguments
        for name, item in properties.items():
            if name in documented and isinstance(item, Mapping) and "description" not in item:
                properties[name] = {**item, "description": documented[name]}
        self.input_schema = {
            **{key: with_handles(v, argument=True) for key, v in schema.items() if key not in {"title", "description"}},
            "properties": {
                name: with_handles(item, argument=True) for name, item in properties.items() if name not in self.hidden
            },
            "required": [name for name in required if name not in self.hidden],
        }
        returns = next((each["return"] for each in self.hints if "return" in each), Any)
        of_message = tool.response_format == "content_and_artifact" or is_message(returns)
        self.output_schema = None if of_message else output_schema_of(returns, tool.name)
        # Such tools return their artifact, their error or their Command only to a whole tool call, in a message.
        self.as_message = (
            tool.response_format == "content_and_artifact"
            or bool(tool.handle_tool_error)
            or bool(tool.handle_validation_error)
            or any(each.kind == "call_id" for each in self.injected.values())
        )

    async def call(self, arguments: dict[str, Any], config: RunnableConfig) -> Any:
        tool = self.tool
        # A program must not stand in for the graph: an injected argument may be a person's id or a store.
        if forged := [name for name in arguments if name in self.hidden]:
            raise TypeError(f"{tool.name}() got an unexpected argument {forged[0]!r}")
        call = ToolCall(name=tool.name, args=dict(arguments), id=f"call_{uuid4().hex}", type="tool_call")
        keys = dict.fromkeys(self.keys, idempotency_key(config))

        async def run(call: dict[str, Any], config: RunnableConfig) -> Any:
            return await self.run({**call, "args": call["args"] | keys}, config)

        if self.invoke is not None:
            return self._value(await self.invoke(call, config, run))
        if len(self.injected) > len(self.keys):
            runtime = await runtime_for(call, config)
            call["args"] |= injected_values(tool.name, self.injected, self.optional, runtime)
        return self._value(await run(dict(call), config))

    def validate(self, arguments: Mapping[str, Any]) -> Any:
        """Return the arguments as the tool sees them: coerced, and with its defaults.

        Raises:
            ValueError: The tool cannot take them.
        """
        schema = self.tool.args_schema
        if not isinstance(schema, type) or not issubclass(schema, BaseModel) or self.injected:
            return dict(arguments)
        model = schema.model_validate(arguments)
        generated = {name for name, each in schema.model_fields.items() if each.default_factory is not None}
        return model.model_dump(exclude=generated - model.model_fields_set)

    async def run(self, call: dict[str, Any], config: RunnableConfig) -> Any:
        """Run the tool. Arguments of a wrong type raise `ValueError`."""
        tool = self.tool
        # Plain arguments return the raw value. But LangChain takes a dict with this `type` for a tool call.
        whole = self.as_message or call["args"].get("type") == "tool_call"
        argument: Any = call if whole else call["args"]
        try:
            return await tool.ainvoke(argument, config)
        except ValidationError as error:
            if is_invalid_resume(error):  # A person's answer to the tool's `interrupt`, not an argument, is wrong.
                raise
            raise ValueError(f"{tool.name}() got invalid arguments: {complaint(error)}") from error
        except ValidationErrorV1 as error:
            problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
            raise ValueError(f"{tool.name}() got invalid arguments: {problems}") from error
        except ValueError as error:
            if tool.response_format == "content_and_artifact" and _is_langchains(error):
                raise UnusableResult(str(error)) from error
            raise

    def _value(self, answer: Any) -> Any:
        """Return the value in a tool's answer: in a Command, a message, content blocks, or the answer itself."""
        if has_command(answer):
            return from_commands(self.tool.name, answer, self._value)
        if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], ToolMessage):
            answer = answer[0]
        if not isinstance(answer, ToolMessage):
            blocks = isinstance(answer, list) and len(answer) > 0 and all(map(_is_block, answer))
            return from_blocks(answer) if blocks else to_data(answer)
        if answer.status == "error":
            raise ToolCallError(answer.text or "it did not say why")
        artifact = answer.artifact
        if isinstance(artifact, Mapping) and artifact.get("structured_content") is not None:
            structured = artifact["structured_content"]
            beside = parts_beside(structured, block_values(answer.content))
            return with_parts(_unwrap(structured, answer.content), beside, artifact.get("_meta") or {})
        if artifact is not None and self.tool.response_format == "content":
            return to_data(artifact)
        blocks = from_blocks(answer.content)
        value = self._parse(blocks) if isinstance(blocks, str) else blocks
        return value if artifact is None else {"content": value, "artifact": _artifact(artifact)}

    def _parse(self, text: str) -> Any:
        # LangChain writes a value that is no text as JSON; a schema that is not of a text shows that it did.
        kind = (self.output_schema or {}).get("type")
        if kind == "string":
            return text
        return parse_json(text, any_value=kind is not None)


def _is_langchains(error: ValueError) -> bool:
    """Tell whether LangChain found that what a tool had returned is no pair: then the tool has done its work."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == BaseTool.__module__ and frame.f_code.co_name in ("run", "arun")


def _functions(tool: BaseTool) -> list[Callable[..., Any]]:
    if isinstance(tool, StructuredTool | Tool):
        return [function for function in (tool.func, tool.coroutine) if function is not None]
    return functions_of(tool)


def _annotations(tool: BaseTool) -> dict[str, Any]:
    if tool.args_schema is None or isinstance(tool.args_schema, dict):
        return {}
    try:
        return dict(get_all_basemodel_annotations(tool.args_schema))
    except Exception:  # Hints that cannot be resolved; the functions' own are used.
        return {}


def _visible_schema(tool: BaseTool) -> dict[str, Any]:
    if isinstance(tool, Tool) and tool.args_schema is None:
        return {"type": "object", "properties": tool.args, "required": list(tool.args)}
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return dict(schema)
    try:
        return schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()
    except Exception:  # An argument that JSON has no type for.
        return {"type": "object", "properties": {name: {} for name in get_all_basemodel_annotations(schema)}}


def _optional(tool: BaseTool) -> set[str]:
    """Return the arguments with a default, in the schema or in a function."""
    found = {
        name
        for function in _functions(tool)
        for name, each in signature_of(function).parameters.items()
        if each.default is not inspect.Parameter.empty
    }
    fields = getattr(tool.args_schema, "model_fields", {})
    return found | {name for name, each in fields.items() if not each.is_required()}


def _effect(metadata: Mapping[str, Any]) -> Effect | None:
    """Read MCP annotations, where `langchain-mcp-adapters` or `langchain.mcp` puts them; None where they say nothing."""
    nested: Any = metadata.get("mcp")
    for key in ("tool", "annotations"):
        nested = nested.get(key) if isinstance(nested, Mapping) else None
    hints = {**metadata, **(nested if isinstance(nested, Mapping) else {})}

    def hint(*names: str) -> bool | None:
        return next((value for name in names if isinstance(value := hints.get(name), bool)), None)

    return effect_from_hints(
        read_only=hint("readOnlyHint", "read_only_hint"),
        destructive=hint("destructiveHint", "destructive_hint"),
        idempotent=hint("idempotentHint", "idempotent_hint"),
    )


def _is_block(value: Any) -> bool:
    """Tell whether a part of a raw result can be nothing but a content block: a text, or data with their media type."""
    if is_text_block(value):
        return True
    known = isinstance(value, dict) and value.get("type") in _MEDIA
    return known and any(isinstance(part, Artifact) for part, _ in block_values([value]))


def _artifact(artifact: Any) -> Any:
    """Return an artifact as data; of one that is none, its text as an `Artifact`."""
    found = with_artifacts(artifact)
    if found is not artifact:
        return found
    try:
        return to_json(artifact, max_bytes=2**62, convert=plain_object, duration=to_plain)
    except (TypeError, ValueError):
        return Artifact(str(artifact).encode("utf-8", "replace"), "text/plain", type(artifact).__name__)


def _unwrap(structured: Any, content: Any) -> Any:
    """Return the value in the `{"result": value}` that MCP servers in Python put around anything but an object.

    An object that really has such a key equals the text beside it; then it is returned whole.
    """
    if not isinstance(structured, Mapping) or structured.keys() != {"result"}:
        return structured
    return structured if from_blocks(content) == structured else structured["result"]
