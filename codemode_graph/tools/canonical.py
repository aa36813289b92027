"""One spelling for equal arguments, so that a call is known again whoever wrote it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from codemode_graph.exact import encode
from codemode_graph.tools.hints import to_plain


def canonical(value: Any) -> Any:
    """Return a value as JSON data that is equal for equal values, whatever their spelling.

    Numbers: 45.0 is 45, and a decimal has no trailing zeros. Times with a zone are in UTC. Sets are sorted.

    Args:
        value: Validated arguments, or what they hold.
    """
    if isinstance(value, str):
        return encode(str(value))  # in JSON two lone surrogates would be equal to the character that they make together
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else encode(float(value))
    if isinstance(value, Decimal):
        return str(value.normalize()) if value.is_finite() and value != value.to_integral_value() else _whole(value)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo is not None else value).isoformat()
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((canonical(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    plain = to_plain(value)
    return canonical(plain) if type(plain) in (dict, list, str, int, float, bool, type(None)) else repr(value)


def _whole(value: Decimal) -> Any:
    return str(value.to_integral_value()) if value.is_finite() else str(value)
