"""A store of files: folders and paths, which are easily confused."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class File(TypedDict):
    """One file."""

    path: str
    size: int
    author: str


_LEDGER: list[Change] = []
_FILES = {
    "docs/intro.md": ("Welcome\nTODO write more", "mia"),
    "docs/install.md": ("Install\nFirst, get the package.\nThen run it.", "tom"),
    "docs/old.md": ("Old\nTODO delete", "mia"),
    "src/main.py": ("print('hello')", "tom"),
}


@tool(effect="read")
def list_files(folder: str) -> list[File]:
    """List the files in a folder such as "docs"."""
    found = [path for path in _FILES if path.startswith(folder.rstrip("/") + "/")]
    if not found:
        raise ValueError(f"there is no folder {folder!r}")
    return [File(path=path, size=len(_FILES[path][0]), author=_FILES[path][1]) for path in found]


@tool(effect="read")
def read_file(path: str) -> str:
    """Read a text file. The path is the whole path, such as "docs/intro.md"."""
    if path not in _FILES:
        raise ValueError(f"there is no file {path!r}")
    return _FILES[path][0]


@tool(effect="write")
def write_file(path: str, text: str) -> int:
    """Write a text file. Returns its size."""
    _LEDGER.append(("write_file", path, text))
    return len(text)


@tool(effect="destructive")
def delete_file(path: str) -> bool:
    """Delete a file."""
    if path not in _FILES:
        raise ValueError(f"there is no file {path!r}")
    _LEDGER.append(("delete_file", path))
    return True


TOOLS = Toolset(name="files", functions=(list_files, read_file, write_file, delete_file), ledger=_LEDGER)

TASKS = (
    Task(
        name="files-sum",
        toolset="files",
        text="How big are the files in docs together?",
        expected=sum(len(text) for path, (text, _) in _FILES.items() if path.startswith("docs/")),
    ),
    Task(
        name="files-search",
        toolset="files",
        text="List the paths of the files in docs whose text contains TODO.",
        expected=["docs/intro.md", "docs/old.md"],
    ),
    Task(
        name="files-copy",
        toolset="files",
        text="Copy docs/intro.md to archive/intro.md. Return how many lines the text has.",
        expected=2,
        changes=[("write_file", "archive/intro.md", _FILES["docs/intro.md"][0])],
    ),
    Task(
        name="files-delete",
        toolset="files",
        text="Delete the files in docs that mia wrote. Return how many were deleted.",
        expected=2,
        changes=[("delete_file", "docs/intro.md"), ("delete_file", "docs/old.md")],
    ),
)
