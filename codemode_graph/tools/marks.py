"""What an author says of a function that is to be a tool."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from codemode_graph.tools.spec import Effect

__all__ = ["Marks", "marks_of", "tool"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE = "__codemode_tool__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What `tool` was given. See there."""

    effect: Effect | None = None
    name: str | None = None
    description: str | None = None
    timeout: float | None = None


def tool(
    *,
    effect: Effect | None = None,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> Callable[[_Function], _Function]:
    """Say more of a function that is to be a tool than its signature does. The function stays as it is.

    Args:
        effect: What a call does to the world. Without it a function counts as one that writes.
        name: What programs call it; any characters. Without it, the function's own name.
        description: For the model. Without it, the function's docstring.
        timeout: Seconds that one call may take.

    Returns:
        A decorator that marks the function and gives it back.

    Example:
        >>> @tool(effect="read", timeout=5)
        ... def temperature(city: str) -> float:
        ...     "The temperature in a city, in degrees Celsius."
        ...     return 21.5
        >>> temperature("Bern")
        21.5
    """
    marks = Marks(effect=effect, name=name, description=description, timeout=timeout)

    def mark(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, marks)
        return function

    return mark


def marks_of(function: object) -> Marks:
    """Give what was said of a function, or of the one that a partial or a method calls."""
    marks = getattr(function, _ATTRIBUTE, None)
    if not isinstance(marks, Marks) and isinstance(function, partial):
        return marks_of(function.func)
    if not isinstance(marks, Marks):
        marks = getattr(getattr(type(function), "__call__", None), _ATTRIBUTE, None)  # noqa: B004
    return marks if isinstance(marks, Marks) else Marks()
