"""`tools`, as a program sees it."""

import difflib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

__all__ = ["Tool", "Tools"]

Caller = Callable[[str, tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, Any]]


class Tool:
    """One tool: calling it gives a coroutine."""

    __slots__ = ("__name__", "_call")

    def __init__(self, name: str, call: Caller) -> None:
        self.__name__, self._call = name, call

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Prepare a call; awaiting it gives the answer."""
        return self._call(self.__name__, args, kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.__name__!r}>"


class Tools(Mapping[str, Tool]):
    """The tools by name, as items; and as attributes, where they have one.

    Args:
        names: Each tool's name and attribute.
        call: Starts a call.
    """

    def __init__(self, names: list[tuple[str, str | None]], call: Caller) -> None:
        self._by_name = {name: Tool(name, call) for name, _ in names}
        self._by_attribute = {attribute: self._by_name[name] for name, attribute in names if attribute}

    def __getitem__(self, name: str) -> Tool:
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            raise KeyError(f"no tool named {name!r}{_hint(name, self._by_name)}") from None

    def __getattr__(self, attribute: str) -> Tool:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        try:
            return self._by_attribute[attribute]
        except KeyError:
            raise AttributeError(f"no tool tools.{attribute}{_hint(attribute, self._by_attribute)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __dir__(self) -> list[str]:
        return sorted(self._by_attribute)

    def __repr__(self) -> str:
        return f"<tools: {', '.join(self._by_name)}>"


def _hint(wanted: Any, known: Mapping[str, Tool]) -> str:
    close = difflib.get_close_matches(str(wanted), known, n=3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
