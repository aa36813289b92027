"""What a program prints, up to a limit."""

from collections.abc import Callable

from codemode_sandboxes.guest.json_values import clean_text

__all__ = ["Output"]


class Output:
    """Collects printed text between two events.

    Args:
        max_bytes: How much may be printed in all, in UTF-8; more is not kept.
        on_excess: Called, once, from the thread that delivered the text beyond the limit.
    """

    def __init__(self, max_bytes: int, on_excess: Callable[[], None]) -> None:
        self._room = max_bytes
        self._on_excess = on_excess
        self._parts: list[str] = []
        self.exceeded = False

    def write(self, stream: str, text: str) -> None:
        """Take a piece of text; standard output and standard error go to the same place, in order."""
        if self.exceeded:
            return
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > self._room:
            self.exceeded = True
            text = encoded[: self._room].decode("utf-8", "ignore")
        self._room -= len(encoded)
        self._parts.append(text)
        if self.exceeded:
            self._on_excess()

    def take(self) -> str:
        """Give what was printed since the last time."""
        parts, self._parts = self._parts, []
        return clean_text("".join(parts))
