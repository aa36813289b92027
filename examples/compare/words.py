"""Tools for `compare.sh`: what a text says."""

from codemode_graph import tool


@tool(effect="read")
def words(text: str) -> list[str]:
    """Split a text into words."""
    return text.split()


TOOLS = [words]
