"""JSON values, held against a JSON Schema."""

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.schema import mapping_at
from codemode_graph.tools.text import one_line

# jsonschema and what it brings is a fifth of all that this package imports, and most runs declare no type.
if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.protocols import Validator


def validator_of(schema: Mapping[str, Any], name: str) -> "Validator":
    """Return the validator of a JSON Schema, formats included.

    Args:
        schema: The schema.
        name: What an error calls it.

    Raises:
        ConfigurationError: It is no JSON Schema.
    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    try:
        plain: dict[str, Any] = json.loads(json.dumps(schema))
        kind = validator_for(plain, default=Draft202012Validator)
        kind.check_schema(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is no JSON Schema: {one_line(error)}") from None
    except SchemaError as error:
        place = "".join(f"[{step!r}]" for step in error.absolute_path)
        raise ConfigurationError(f"{name}{place} is no JSON Schema: {one_line(error.message)}") from None
    # A schema may come from a client of a server: what it refers to is never fetched.
    validator: Validator = kind(plain, registry=Registry(), format_checker=_formats())
    return validator


@cache
def _formats() -> "FormatChecker":
    """Return the checks of formats. They need no library that may be missing: the same value is right on every machine."""
    from jsonschema import FormatChecker

    formats = FormatChecker(formats=())
    parsers = {
        "date": date.fromisoformat,
        "date-time": datetime.fromisoformat,
        "time": time.fromisoformat,
        "uuid": UUID,
    }
    for name, parse in parsers.items():
        formats.checks(name, raises=ValueError)(
            lambda value, parse=parse: not isinstance(value, str) or bool(parse(value))
        )
    return formats


def wrong_argument(name: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an argument of a saved program; None where each is as the JSON Schema says.

    Arguments that are missing, or that it does not take, are found by the check of the program that calls it.

    Args:
        name: Its name.
        parameters: JSON Schema of its arguments.
        arguments: Some of them, JSON values.

    Raises:
        ConfigurationError: The schema is none.
    """
    known = {key: value for key, value in arguments.items() if key in mapping_at(parameters, "properties")}
    if not known:
        return None
    errors = validator_of({**parameters, "required": []}, f"what {name} takes").iter_errors(known)
    error = next((each for each in errors if each.absolute_path), None)
    if error is None:
        return None
    argument, *rest = error.absolute_path
    place = "".join(f"[{step!r}]" for step in rest)
    return f"the argument {argument!r} of {name} is wrong{place and f' at {place}'}: {one_line(error.message, 300)}"
