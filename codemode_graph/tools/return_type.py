"""The declared type of a program's value: its JSON Schema, its form for the model, its validator."""

import inspect
import json
import re
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

from pydantic import BeforeValidator, PydanticUserError, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import SchemaError as PydanticSchemaError
from typing_extensions import TypeVar

from codemode_graph.errors import ConfigurationError
from codemode_graph.preview import shape as shape_of
from codemode_graph.tools.annotations import Reader, Shape
from codemode_graph.tools.cards import render_type
from codemode_graph.tools.conditions import description_of
from codemode_graph.tools.hints import complaint
from codemode_graph.tools.schema import Document
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.text import condense, one_line
from codemode_graph.tools.validation import validator_of

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError as SchemaMismatch

T = TypeVar("T")
Declared: TypeAlias = type[T] | TypeAdapter[T]
"""A Python type of which a type checker knows the values."""

# Characters of a description that a model is shown, and how much of what is wrong with a value.
_DESCRIPTION = 200
_PROBLEMS = 5
_SURROGATE = re.compile(r"\\ud[89a-f]")


class ReturnType:
    """The type that a program's value must have.

    Args:
        schema: The JSON Schema. It alone is kept with a run.
        adapter: The Python type's validator, where the caller gave a Python type.

    Raises:
        ConfigurationError: The schema is no JSON Schema.
    """

    def __init__(self, schema: Mapping[str, Any], adapter: TypeAdapter[Any] | None = None) -> None:
        self._validator = validator_of(schema, "returns")
        self.schema: dict[str, Any] = dict(cast(Mapping[str, Any], self._validator.schema))
        self.adapter = adapter

    @cached_property
    def shape(self) -> Shape:
        """The shape of the values, as far as a program's text can be held against it."""
        return Reader(Document(self.schema)).shape(self.schema, "Answer")

    def text(self, signatures: Signatures) -> str:
        """Return the type as a model reads it: in the words of the tools' cards.

        Args:
            signatures: The tools', whose types keep their names.
        """
        document = Document(self.schema)
        about = condense(description_of(document, document.flat(self.schema)), _DESCRIPTION)
        lines = [*filter(None, [about]), *render_type(self.shape, signatures)]
        return "\n".join(f"    {line}" for line in lines)

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, in short; None where it is right.

        Args:
            value: JSON values.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            errors = islice(self._validator.iter_errors(value), _PROBLEMS)
            # An error of `anyOf` says nothing by itself: the best match is one of its branches'.
            found = [best_match([error]) or error for error in errors]
        except Unresolvable as error:
            raise ConfigurationError(f"returns refers to a schema that is not part of it: {one_line(error)}") from None
        except RecursionError:
            return "it is nested too deeply, or its JSON Schema refers to itself without end"
        if found:
            return "; ".join(dict.fromkeys(map(_describe, found)))
        try:
            self.load(value)
        except ValidationError as error:
            return complaint(error)
        return None

    def load(self, value: Any) -> Any:
        """Return the validated object for a value; the value itself where the type is a JSON Schema.

        Raises:
            pydantic.ValidationError: The Python type does not take the value.
        """
        if self.adapter is None:
            return value
        text = json.dumps(value)
        # As JSON, so that a strict model takes the text of a date for a date. Its parser takes no lone surrogates.
        return self.adapter.validate_python(value) if _SURROGATE.search(text) else self.adapter.validate_json(text)


def read_return_type(returns: Any) -> ReturnType | None:
    """Return the type that a caller declared.

    Args:
        returns: A type that pydantic's `TypeAdapter` takes, a `TypeAdapter`, or a JSON Schema as a dict; None for no type.

    Raises:
        ConfigurationError: Pydantic cannot use the type, or it has no JSON Schema.
    """
    if returns is None or isinstance(returns, ReturnType):
        return returns
    if isinstance(returns, Mapping):
        return ReturnType(returns)
    if inspect.isroutine(returns):  # pydantic would take it for the type of its arguments
        raise ConfigurationError("returns takes a type that pydantic can use, or a JSON Schema, not a function")
    try:
        adapter = returns if isinstance(returns, TypeAdapter) else TypeAdapter(returns)
        return ReturnType(adapter.json_schema(), adapter)
    except (PydanticUserError, PydanticInvalidForJsonSchema, PydanticSchemaError, TypeError, NameError) as error:
        raise ConfigurationError(
            f"returns takes a type that pydantic can use, or a JSON Schema: {one_line(error)}"
        ) from None


Returns: TypeAlias = Annotated[
    Any,
    BeforeValidator(read_return_type),
    WithJsonSchema({"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]}),
]
"""The field of a model that holds a `ReturnType`, and takes what `read_return_type` takes."""


def _describe(error: "SchemaMismatch") -> str:
    place = "".join(f"[{step!r}]" for step in error.absolute_path)
    # The library's own message quotes the whole value, which may be megabytes.
    if error.validator == "type":
        kinds: Any = error.validator_value
        types = kinds if isinstance(kinds, str) else " or ".join(kinds)
        return f"the answer{place} is {one_line(shape_of(error.instance, depth=2), 300)}, but must be of type {types}"
    if error.validator == "required":
        keys: Any = error.instance
        has = f"; it has {one_line(', '.join(map(repr, keys)) or 'no keys', 300)}"
        return f"the answer{place}: {one_line(error.message)}{has}"
    value = f" (it is {one_line(shape_of(error.instance, depth=2), 200)})" if len(error.message) > _DESCRIPTION else ""
    return f"the answer{place}: {one_line(error.message, _DESCRIPTION)}{value}"
