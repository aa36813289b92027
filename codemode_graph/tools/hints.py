"""Type hints and docstrings: how they describe arguments and results."""

import inspect
import logging
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from inspect import Parameter
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from codemode_sandboxes.guest.json_values import to_json
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict

from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.artifacts import with_handles
from codemode_graph.tools.text import one_line

_logger = logging.getLogger("codemode")
_NO_SIGNATURE = inspect.Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)
_NO_BOUND = 2**62  # the run's own limits are looked at where the value is taken
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator, Iterator, Generator)


@dataclass(frozen=True, slots=True)
class Docs:
    """The description of a function, and of each argument, from its docstring."""

    text: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


def docs_of(docstring: str | None) -> Docs:
    """Parse a docstring in Google's, NumPy's, Epytext's or Sphinx's style, or in none."""
    import docstring_parser  # only tools from Python functions have docstrings

    text = inspect.cleandoc(docstring or "")
    try:
        parsed = docstring_parser.parse(text)
    except Exception:  # A parser of free text fails on free text in ways of its own.
        return Docs(text)
    parts = [parsed.short_description, parsed.long_description]
    if parsed.returns is not None and parsed.returns.description:
        parts.append(f"Returns: {parsed.returns.description}")
    arguments = {each.arg_name.lstrip("*"): each.description for each in parsed.params if each.description}
    return Docs("\n\n".join(filter(None, parts)), arguments)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return a function's signature; that of `(*args, **kwargs)` for a builtin that has none."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return _NO_SIGNATURE


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's hints, `Annotated` included. One that cannot be resolved is Any."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # One bad hint fails them all: resolve each by itself.
        return {name: _resolve(function, hint) for name, hint in _annotations(function).items()}


def _annotations(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.get_annotations(inspect.unwrap(function))
    except Exception:
        return {}


def _resolve(function: Callable[..., Any], hint: Any) -> Any:
    if not isinstance(hint, str):
        return hint
    # A hint as text may name a local of the function around, which only the closure's cells hold.
    plain = inspect.unwrap(getattr(function, "__func__", function))
    cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=False) if inspect.isfunction(plain) else ()
    try:
        names = {name: cell.cell_contents for name, cell in cells}

        def holder() -> None: ...

        holder.__annotations__ = {"hint": hint}
        return typing.get_type_hints(holder, getattr(plain, "__globals__", {}), names, include_extras=True)["hint"]
    except Exception:
        return Any


def adapter_of(hint: Any, what: str, mode: JsonSchemaMode) -> TypeAdapter[Any] | None:
    """Return a validator of a hint's values that has a JSON Schema, or None where anything goes.

    Args:
        hint: A resolved type hint.
        what: What it is the hint of, for the log: a hint that cannot be used is no error.
        mode: Whether the schema describes inputs ("validation") or outputs ("serialization").
    """
    if hint is Any or hint is Parameter.empty:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema(mode=mode)
    except Exception as error:
        _logger.warning("the type hint of %s cannot be used, so anything is accepted: %s", what, one_line(error))
        return None
    return adapter


def output_schema_of(hint: Any, what: str) -> dict[str, Any] | None:
    """Return the JSON Schema of the values of a tool with this return hint, or None where it is not known."""
    while get_origin(hint) in (Awaitable, Coroutine):
        hint = get_args(hint)[-1]
    if get_origin(hint) in _STREAMS:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    if hint in (None, NoneType, typing.NoReturn):
        return None
    adapter = adapter_of(hint, f"the result of {what}", "serialization")
    schema = with_handles(adapter.json_schema(mode="serialization")) if adapter is not None else {}
    return schema or None


def complaint(error: ValidationError, of: str = "") -> str:
    """Describe in short what is wrong with a value: where, what, and the value there.

    Args:
        error: Pydantic's error.
        of: The name of the value, put before each place.
    """
    problems = []
    for each in error.errors(include_url=False, include_context=False)[:5]:
        place = ".".join(str(step) for step in (*([of] if of else []), *each["loc"]))
        value = "" if each["type"] == "missing" else f" (got {one_line(repr(each['input']), 60)})"
        problems.append(f"{place}: {each['msg']}{value}" if place else f"{each['msg']}{value}")
    return "; ".join(problems)


def check_types(values: Mapping[str, Any], hints: Mapping[str, Any], of: str = "{}") -> None:
    """Hold values against the hints of their names, without any conversion.

    Args:
        values: By name; None is left out, and so is a name without a hint.
        hints: Resolved type hints by name.
        of: How a message writes a name, such as `ToolPolicy({}=...)`.

    Raises:
        ConfigurationError: A value has another type.
    """
    for name, value in values.items():
        if value is None or name not in hints:
            continue
        try:
            _strict(hints[name]).validate_python({"value": value})
        except ValidationError as error:
            texts = (each["msg"].removeprefix("Input should be ") for each in error.errors())
            wrong = one_line(repr(value), 60)
            raise ConfigurationError(
                f"{of.format(name)} has to be {' or '.join(dict.fromkeys(texts))}, not {wrong}"
            ) from None


def check_fields(settings: Any) -> None:
    """Hold the fields of a dataclass against their hints, but for those that have their defaults.

    Raises:
        ConfigurationError: A field has another type.
    """
    kind: type = type(settings)
    values = {each.name: value for each in fields(settings) if (value := getattr(settings, each.name)) != each.default}
    check_types(values, _hints_of(kind) if values else {}, f"{kind.__name__}({{}}=...)")


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@lru_cache(maxsize=256)
def _strict(hint: Any) -> TypeAdapter[Any]:
    # A field, since a config cannot be given for a model, a dataclass or a TypedDict itself.
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    return TypeAdapter(with_config(config)(TypedDict("Values", {"value": hint})))  # type: ignore[operator]


def to_plain(value: Any) -> Any:
    """Return a result as plain data: models and dataclasses as dicts, dates as ISO 8601 text, and so on.

    What cannot be dumped comes back as it is.
    """
    try:
        return to_jsonable_python(value, by_alias=True)
    except (PydanticSerializationError, ValueError, TypeError):
        return value


def plain_object(value: Any) -> Any:
    """Return an object that is none of Python's own as plain data; for `to_json`.

    Raises:
        TypeError: It is no data.
    """
    plain = to_plain(value)
    if plain is value:
        raise TypeError(f"an object of type {type(value).__name__!r} is not JSON")
    return plain


def to_data(value: Any) -> Any:
    """Return a result in the form in which programs get it, see `to_json`; models as `to_plain` has them.

    What has no such form comes back as it is.
    """
    try:
        return to_json(value, max_bytes=_NO_BOUND, convert=plain_object, duration=to_plain)
    except (TypeError, ValueError):
        return value
