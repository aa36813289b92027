"""Python functions as tools."""

import functools
import inspect
import itertools
import json
import logging
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter
from typing import Annotated, Any, Optional, TypeVar, get_args, get_origin

import anyio.to_thread
import typing_extensions
from langchain_core.runnables import RunnableConfig
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from codemode_graph.errors import ToolCallError, ToolLoadError, ToolOutcomeUnknown, UnusableResult
from codemode_graph.tools.artifacts import is_plain, with_artifacts, with_handles
from codemode_graph.tools.callbacks import traced
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.hints import (
    Docs,
    adapter_of,
    check_types,
    complaint,
    docs_of,
    output_schema_of,
    signature_of,
    to_data,
    to_plain,
    type_hints,
)
from codemode_graph.tools.injection import injection_in, is_config
from codemode_graph.tools.results import CommandRefused, from_commands, has_command, is_message
from codemode_graph.tools.schema import VARIADIC
from codemode_graph.tools.spec import Effect, ToolPolicy, ToolSpec, Undo, idempotency_key

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE = "__codemode_tool__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The arguments of `tool`."""

    effect: Effect | None = None
    name: str | None = None
    description: str | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    undoes: str | Undo | None = None

    def on(self, spec: ToolSpec) -> ToolSpec:
        """Return the tool of a function with these marks."""
        return replace(
            spec,
            effect=self.effect or spec.effect,
            declared=self.effect is not None,
            policy=ToolPolicy(timeout=self.timeout),
            source="function",
            undoes=Undo(self.undoes) if isinstance(self.undoes, str) else self.undoes,
        )


def tool(
    *,
    effect: Effect | None = None,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    undoes: str | Undo | None = None,
) -> Callable[[_Function], _Function]:
    """Mark a function with facts that a tool has and a signature lacks. The function stays as it is.

    Args:
        effect: What a call does to the world. Without it a function counts as one that writes, unless its name and its
            arguments can only mean a read.
        name: What programs call it; any characters. Without it, the function's own name.
        description: For the model. Without it, the function's docstring.
        timeout: Seconds that one call may take.
        undoes: The tool whose calls it undoes, as its name or an `Undo`.

    Returns:
        A decorator that marks the function and returns it.

    Raises:
        ConfigurationError: An argument has another type, such as an effect that there is not.

    Examples:
        >>> @tool(effect="read", timeout=5)
        ... def temperature(city: str) -> float:
        ...     "The temperature in a city, in degrees Celsius."
        ...     return 21.5
        >>> temperature("Bern")
        21.5
    """
    arguments = {"effect": effect, "name": name, "timeout": timeout, "undoes": undoes}
    check_types(arguments, typing.get_type_hints(Marks, include_extras=True), "tool({}=...)")
    marks = Marks(effect=effect, name=name, description=description, timeout=timeout, undoes=undoes)

    def mark(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, marks)
        return function

    return mark


def marks_of(function: object) -> Marks:
    """Return the marks of a function, or of the one that a partial or a callable object calls."""
    marks = getattr(function, _ATTRIBUTE, None)
    if not isinstance(marks, Marks) and isinstance(function, partial):
        return marks_of(function.func)
    if not isinstance(marks, Marks):
        marks = getattr(getattr(type(function), "__call__", None), _ATTRIBUTE, None)  # noqa: B004
    return marks if isinstance(marks, Marks) else Marks()


MAX_STREAMED = 100_000
"""Values that one call of a generator may yield."""

_UNPACKS: tuple[Any, ...] = (typing.Unpack, typing_extensions.Unpack)
_MARKERS: tuple[Any, ...] = (typing_extensions.Required, typing_extensions.NotRequired)
_ABSENT = object()
"""The default of an argument that is left out where nobody passes it."""

_logger = logging.getLogger("codemode")


def from_callable(function: Callable[..., Any], name: str | None = None) -> ToolSpec:
    """Make a tool of a function, a method, a partial, or a callable object; sync or async.

    Arguments are validated and converted as their hints say (dates, enums, dataclasses, pydantic models, ...) before
    the function is called; a hint that cannot be used accepts anything. Arguments that a partial binds are none of
    the tool's. `*args` takes all further positional values, or their list by its name; `**kwargs` accepts further
    arguments. An argument with the hint `RunnableConfig` gets the run's config, one with the hint `IdempotencyKey` the
    call's key. The docstring describes the tool and its arguments.

    Models and dataclasses come back as dicts, the `ToolMessage` of a `Command` as its content, the values of a
    generator as a list of at most `MAX_STREAMED`.

    A sync function runs in a worker thread, in the context of the caller. Python cannot stop a thread: when a call is
    cancelled or times out, its function goes on to its end, its result is dropped, and the logger "codemode" says so.

    Args:
        function: The function. The decorator `tool` adds effect, name and timeout.
        name: What programs call it; else the name in its `tool` mark, else the function's own name.

    Returns:
        The tool. Its effect is that of its `tool` mark, else that of `infer_effect`.

    Raises:
        ToolLoadError: It cannot be called, or has an argument that only LangGraph can inject.
    """
    if not callable(function):
        raise ToolLoadError(f"{type(function).__name__} object is not callable, so it is not a tool")
    marks, plain = marks_of(function), _plain(function)
    name = name or name_of(function)
    docs = _docs(plain)
    call = _Call(name, function, type_hints(_function_with_hints(plain)))
    returns = call.hints.get("return", Any)
    input_schema = call.input_schema(docs)
    description = docs.text if marks.description is None else marks.description
    spec = ToolSpec(
        name=name,
        call=traced(name, call, description=description),
        description=description,
        input_schema=input_schema,
        output_schema=None if is_message(returns) else output_schema_of(returns, name),
        effect=infer_effect(name_of(function), input_schema),
        takes_key=bool(call.keys),
        validate=call.validate,
    )
    return marks.on(spec)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function as a tool: the one in its `tool` mark, else its own."""
    # A partial has no name, unless its author has given it one.
    plain = function if "__name__" in getattr(function, "__dict__", {}) else _plain(function)
    name = str(getattr(plain, "__name__", type(plain).__name__))
    return marks_of(function).name or ("lambda" if name == "<lambda>" else name)


class _Call:
    """Calls a function with the arguments of a tool call."""

    def __init__(self, name: str, function: Callable[..., Any], hints: dict[str, Any]) -> None:
        self.name, self.function, self.hints = name, function, hints
        self.is_async = _is_async(function)
        self.signature = signature_of(function)
        fixed = function.keywords if isinstance(function, functools.partial) else {}
        self.parameters = {
            key: each
            for key, each in self.signature.parameters.items()
            if key not in fixed and not is_config(hints.get(key))
        }
        for key, each in [*self.parameters.items()]:
            fields = _unpacked(hints.get(key)) if each.kind is Parameter.VAR_KEYWORD else None
            if fields is not None:
                del self.parameters[key]
                hints |= {name: hint for name, (hint, _) in fields.items()}
                for name, (_, required) in fields.items():
                    default = Parameter.empty if required else _ABSENT
                    self.parameters[name] = Parameter(name, Parameter.KEYWORD_ONLY, default=default)
        self.configs = [key for key in self.signature.parameters if is_config(hints.get(key))]
        injected = {key: found for key in self.parameters if (found := injection_in(hints.get(key)))}
        self.keys = [key for key, found in injected.items() if found.kind == "idempotency_key"]
        for key in self.keys:
            del self.parameters[key], injected[key]
        if parameters := list(injected):
            msg = (
                f"{name} takes {parameters[0]!r}, which LangGraph injects: decorate it with `langchain_core.tools.tool`"
            )
            raise ToolLoadError(msg)
        # What the host fills in must not come from a program, which could name it among `**kwargs`.
        self.hidden = ({*self.signature.parameters, *_bound_names(function)} - self.parameters.keys()) | {*self.keys}
        self.adapters = {
            key: adapter
            for key, each in self.parameters.items()
            if (adapter := adapter_of(self._hint(each), f"the argument {key!r} of {name}", "validation"))
        }
        self.more = next((key for key, each in self.parameters.items() if each.kind is Parameter.VAR_KEYWORD), None)

    def _hint(self, parameter: Parameter) -> Any:
        hint = self.hints.get(parameter.name, Any)
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return list[hint]  # type: ignore[valid-type]
        if isinstance(parameter.default, FieldInfo):
            return Annotated[hint, parameter.default]
        # `limit: int = None` is common, and models pass None where it is the default.
        return Optional[hint] if parameter.default is None and hint is not Any else hint  # noqa: UP045

    def input_schema(self, docs: Docs) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        schemas, shared = TypeAdapter.json_schemas(
            [(key, "validation", adapter) for key, adapter in self.adapters.items()]
        )
        properties: dict[str, Any] = {}
        for key, each in self.parameters.items():
            schema = dict(schemas.get((key, "validation"), {}))
            if each.kind is Parameter.VAR_POSITIONAL:
                schema |= {"type": "array", VARIADIC: True}
            if "description" not in schema and (text := _description(self.hints.get(key)) or docs.arguments.get(key)):
                schema["description"] = text
            default = _default(each)
            if default is not Parameter.empty and _is_json(value := to_plain(default)):
                schema["default"] = value
            if key != self.more:
                properties[key] = schema
        required = [
            key
            for key, each in self.parameters.items()
            if _default(each) is Parameter.empty and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        ]
        schema = {"type": "object", "properties": properties, "required": required, **shared}
        if self.more is not None:
            schema["additionalProperties"] = schemas.get((self.more, "validation"), True)
        found: dict[str, Any] = with_handles(schema, argument=True)
        return found

    async def __call__(self, arguments: dict[str, Any], config: RunnableConfig) -> Any:
        args, kwargs = self._bind(arguments, config)
        target = self.function
        if self.is_async:
            # Not in a thread: it makes a coroutine, and runs nothing yet.
            result = target(*args, **kwargs)
        else:
            result = await self._in_thread(functools.partial(target, *args, **kwargs))
        # A plain function may return a coroutine, as a lambda around an async one does.
        if inspect.isawaitable(result):
            result = await result
        try:
            if isinstance(result, AsyncIterator):
                result = await self._collect(result)
            elif isinstance(result, Iterator):
                result = await self._in_thread(functools.partial(self._read, result))
        except (UnusableResult, ToolOutcomeUnknown):
            raise
        except Exception as error:
            raise self._broken_off(error) from error
        if is_plain(result):
            return result
        try:
            if has_command(result):
                return from_commands(self.name, result)
            # With bytes in it, it is data only once their handles are there.
            found = with_artifacts(result)
            return to_data(result) if found is result else found
        except (CommandRefused, ToolCallError):
            raise
        except Exception as error:  # the function has returned: whatever a lazy attribute raises now, the call is done
            raise UnusableResult(f"{self.name} returned what cannot be read: {error}", result) from error

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the function sees them: coerced, and with its defaults.

        Raises:
            ValueError: The function cannot take them.
        """
        values, more, problems = self._values(arguments)
        if problems:
            raise ValueError("; ".join(problems))
        for key, each in self.parameters.items():
            if each.kind is Parameter.VAR_POSITIONAL and not values.get(key, True):
                del values[key]  # no values are the same call as none at all
            # A default that a factory makes is another one each time, and would make equal calls different.
            if key in values or (isinstance(each.default, FieldInfo) and each.default.default_factory is not None):
                continue
            if (default := _default(each)) is not Parameter.empty:
                values[key] = default
        return values | more

    def _bind(self, arguments: Mapping[str, Any], config: RunnableConfig) -> tuple[list[Any], dict[str, Any]]:
        values, more, problems = self._values(arguments)
        if problems:
            raise ValueError(f"{self.name}() got invalid arguments: {'; '.join(problems)}")
        if forged := [key for key in more if self.more is None or key in self.hidden]:
            raise TypeError(f"{self.name}() got an unexpected argument {forged[0]!r}")
        for key, each in self.parameters.items():
            if key not in values and isinstance(each.default, FieldInfo):
                values[key] = each.default.get_default(call_default_factory=True, validated_data={})
        return self._pass(values, more, config)

    def _values(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Return the validated arguments, those that the signature does not name, and what is wrong with the rest."""
        values: dict[str, Any] = {}
        more: dict[str, Any] = {}
        problems: list[str] = []
        for key, value in arguments.items():
            known = key in self.parameters and key != self.more
            adapter = self.adapters.get(key if known else self.more or "")
            try:
                (values if known else more)[key] = value if adapter is None else adapter.validate_python(value)
            except ValidationError as error:
                problems.append(complaint(error, key))
        return values, more, problems

    def _pass(
        self, values: dict[str, Any], more: dict[str, Any], config: RunnableConfig
    ) -> tuple[list[Any], dict[str, Any]]:
        """Pass every argument by keyword that can be: a decorator's wrapper may take nothing else."""
        values |= dict.fromkeys(self.configs, config)
        values |= dict.fromkeys(self.keys, idempotency_key(config) if self.keys else None)
        spread = next(
            (values.pop(key, ()) for key, each in self.parameters.items() if each.kind is each.VAR_POSITIONAL), ()
        )
        kinds = {Parameter.POSITIONAL_ONLY, *([Parameter.POSITIONAL_OR_KEYWORD] if spread else [])}
        leading = [each for each in self.signature.parameters.values() if each.kind in kinds]
        # The tail that nobody passed is left to the function's own defaults.
        while leading and not spread and leading[-1].name not in values:
            leading.pop()
        args = [values.pop(each.name, each.default) for each in leading]
        return [*args, *spread], {**values, **more}

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        running = False

        def run() -> Any:
            nonlocal running
            running = True
            try:
                result = work()
                return self._read(result) if isinstance(result, Iterator) else result
            finally:
                running = False

        try:
            # Python cannot stop a thread: a cancelled call leaves it to its end, and does not wait for it.
            return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            # A call that still waits for a free thread never runs, so there is nothing to warn of.
            if running:
                _logger.warning("a call of %s was given up; its function goes on in its thread", self.name)
            raise

    def _read(self, result: Iterator[Any]) -> list[Any]:
        try:
            # One more than allowed tells a generator that is too long, or endless, from one that just fits.
            values = list(itertools.islice(result, MAX_STREAMED + 1))
        except Exception as error:
            raise self._broken_off(error) from error
        return self._check_length(values)

    def _broken_off(self, error: Exception) -> ToolOutcomeUnknown:
        # How much of its work a generator has done by then, only its author knows.
        return ToolOutcomeUnknown(f"{self.name} raised while its values were read: {error}")

    async def _collect(self, result: AsyncIterator[Any]) -> list[Any]:
        values: list[Any] = []
        try:
            async for value in result:
                values.append(value)
                self._check_length(values)
        finally:
            # Closed at once, not by the garbage collector in some other task.
            if isinstance(result, AsyncGenerator):
                await result.aclose()
        return values

    def _check_length(self, values: list[Any]) -> list[Any]:
        if len(values) > MAX_STREAMED:
            raise UnusableResult(f"{self.name} gave more than {MAX_STREAMED} values")
        return values


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _unpacked(hint: Any) -> dict[str, tuple[Any, bool]] | None:
    """Return the keys of `**kwargs: Unpack[SomeTypedDict]`, each with its hint and whether it is required; else None."""
    if get_origin(hint) not in _UNPACKS:
        return None
    (declared,) = get_args(hint)
    kind = get_origin(declared) or declared
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    plain = {name: get_args(each)[0] if get_origin(each) in _MARKERS else each for name, each in hints.items()}
    return {name: (hint, name in kind.__required_keys__) for name, hint in plain.items()}


def _bound_names(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a partial binds, by keyword or by position."""
    if not isinstance(function, functools.partial):
        return []
    names = list(signature_of(function.func).parameters)
    return [*names[: len(function.args)], *function.keywords]


def _is_object(function: Callable[..., Any]) -> bool:
    return not (inspect.isroutine(function) or inspect.isclass(function))


def _function_with_hints(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isclass(function):
        return function.__init__
    return type(function).__call__ if _is_object(function) else function


def _is_async(function: Callable[..., Any]) -> bool:
    plain = _plain(function)
    called = type(plain).__call__ if _is_object(plain) else plain
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


def _docs(function: Callable[..., Any]) -> Docs:
    if _is_object(function):
        return docs_of(inspect.getdoc(type(function).__call__) or inspect.getdoc(type(function)))
    return docs_of(inspect.getdoc(function))


def _default(parameter: Parameter) -> Any:
    default = parameter.default
    if not isinstance(default, FieldInfo):
        return default
    return (
        Parameter.empty if default.is_required() else default.get_default(call_default_factory=True, validated_data={})
    )


def _description(hint: Any) -> str:
    for note in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(note, str):
            return note
        if isinstance(text := getattr(note, "documentation", None), str):  # typing_extensions.Doc
            return text
    return ""


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
