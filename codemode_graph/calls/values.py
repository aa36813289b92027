"""Values that are kept outside the state: big ones, and those with something to hide.

In the state, and in prompts, a `Reference` stands for such a value: its handle, its size, its shape and a sample. The
value itself is in the LangGraph store where the graph has one, else in a file that only the host's user can read.
"""

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import anyio
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict

from codemode_graph.preview import sample, shape
from codemode_graph.tools.spec import ToolSpec

__all__ = ["LOAD_VALUE", "Reference", "Values", "is_reference", "load_value"]

_NAMESPACE = ("codemode", "values")


async def _nothing(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    raise KeyError("there are no values to load")


class Reference(TypedDict):
    """Stands for a value that is kept elsewhere."""

    codemode_reference: str
    """The handle: `tools['load_value'](handle=...)` gives the value."""
    bytes: int
    """Size of the value as JSON."""
    shape: str
    sample: str


def is_reference(value: object) -> TypeGuard[Reference]:
    """Whether a value of the state stands for another."""
    return isinstance(value, dict) and set(value) == set(Reference.__annotations__)


class Values:
    """Keeps values, and gives them back by their handle.

    Args:
        run_id: Begins the handles of a run, so that nobody guesses those of another.
        store: Where to keep them; None for files.
        inline_bytes: Values up to this size, as JSON, stay in the state.
    """

    def __init__(self, *, run_id: str, store: BaseStore | None = None, inline_bytes: int = 32 * 1024) -> None:
        self._run_id, self._store, self._inline_bytes = run_id, store, inline_bytes

    async def keep(self, value: Any, *, shown: Any = None, always: bool = False) -> Any:
        """Give what the state holds for a value: itself where it is small, and does not look like one, else a `Reference`.

        Args:
            value: A JSON value.
            shown: What shape and sample are made from; the value itself by default.
            always: Keep it outside whatever its size.
        """
        text = json.dumps(value, ensure_ascii=False)
        size = len(text.encode())
        if size <= self._inline_bytes and not always and not is_reference(value):
            return value
        handle = f"{self._run_id}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if self._store is not None:
            await self._store.aput(_NAMESPACE, handle, {"value": value}, index=False)
        else:
            path = await anyio.to_thread.run_sync(_path, handle)
            await anyio.Path(path).write_text(text, encoding="utf-8")
        preview = value if shown is None else shown
        return Reference(codemode_reference=handle, bytes=size, shape=shape(preview), sample=sample(preview))

    async def load(self, value: Any) -> Any:
        """Give the value that the state's value stands for.

        Raises:
            KeyError: It is not there any more.
        """
        return await self.fetch(value["codemode_reference"]) if is_reference(value) else value

    async def fetch(self, handle: str) -> Any:
        """Give the value with this handle.

        Raises:
            KeyError: This run has no such value.
        """
        if not handle.startswith(f"{self._run_id}-") or not handle.removeprefix(f"{self._run_id}-").isalnum():
            raise KeyError(f"no value has the handle {handle!r}")
        if self._store is not None:
            item = await self._store.aget(_NAMESPACE, handle)
            if item is not None:
                return item.value["value"]
        else:
            path = anyio.Path(await anyio.to_thread.run_sync(_path, handle))
            if await path.exists():
                return json.loads(await path.read_text(encoding="utf-8"))
        raise KeyError(f"no value has the handle {handle!r}")


LOAD_VALUE = ToolSpec(
    name="load_value",
    call=_nothing,
    description="Load a value that is kept by reference.",
    input_schema={"type": "object", "properties": {"handle": {"type": "string"}}, "required": ["handle"]},
    effect="read",
    source="codemode",
)
"""The tool by which a program gets at a value that is kept by reference. It is not among the cards: a prompt names it
where there is something to load."""


def load_value(values: Values) -> ToolSpec:
    """`LOAD_VALUE` over the values of a run."""

    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        return await values.fetch(str(arguments["handle"]))

    return replace(LOAD_VALUE, call=call)


def _path(handle: str) -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else ""
    folder = Path(tempfile.gettempdir()) / f"codemode-graph-values-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    here = folder.lstat()
    # Everybody may make folders there: one that another user has made, or can read, is not ours.
    if user != "" and (not stat.S_ISDIR(here.st_mode) or here.st_uid != user or here.st_mode & 0o077):
        raise PermissionError(f"{folder} is not a folder of this user alone: remove it, or give the graph a store")
    return folder / f"{handle}.json"
