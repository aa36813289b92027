"""Values that are kept outside the state: large ones, and those with something to hide.

In the state, and in prompts, a `Reference` stands for such a value: its handle, its size, its shape and a sample. A large
value is in the journal of its run, under its hash, so that another host finds it. One with something to hide is encrypted
there where `LANGGRAPH_AES_KEY` is set; else it is kept in this process alone.
"""

import base64
import hashlib
import json
import os
import sys
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeGuard

from codemode_sandboxes.guest.json_values import MAX_DEPTH
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from typing_extensions import TypedDict

from codemode_graph.calls.journal import Journal
from codemode_graph.exact import decode, encode
from codemode_graph.preview import sample, shape
from codemode_graph.tools.artifacts import Artifact, ArtifactHandle, handle_of, handles_in, is_handle
from codemode_graph.tools.spec import ToolPolicy, ToolSpec

_KEY = "LANGGRAPH_AES_KEY"
# Of all runs in this process, so that a graph that is compiled again finds them.
_SECRETS: OrderedDict[str, str] = OrderedDict()
# Values that this process keeps for want of a key; the oldest go first.
_MOST_SECRETS = 10_000


class Reference(TypedDict):
    """Stands for a value that is kept elsewhere."""

    codemode_reference: str
    """The handle: `tools['load_value'](handle=...)` returns the value."""
    bytes: int
    """Size of the value as JSON."""
    shape: str
    sample: str


def is_reference(value: object) -> TypeGuard[Reference]:
    """Tell whether a value of the state stands for another."""
    return isinstance(value, dict) and set(value) == set(Reference.__annotations__)


class Values:
    """Keeps values of a run, and returns them by their handle.

    Args:
        run: The run's id. It begins the handles, so that no program reads the values of another run.
        journal: Where large values are kept.
        inline_bytes: Values up to this size, as JSON, stay in the state.
    """

    def __init__(self, *, run: str, journal: Journal, inline_bytes: int = 32 * 1024) -> None:
        self._run, self._journal, self._inline_bytes = run, journal, inline_bytes
        self._known: set[str] = set()

    def know(self, recorded: Sequence[Any]) -> None:
        """Let the run read what earlier runs have kept, as far as its own record of their calls' results refers to it."""
        self._known.update(value["codemode_reference"] for value in recorded if is_reference(value))
        self._known.update(handle["codemode_artifact"] for handle in handles_in(recorded))

    async def keep(
        self, value: Any, *, shown: Any = None, secret: bool = False, apart: bool = False, final: bool = False
    ) -> Any:
        """Return what the state holds for a value: itself where it is small and does not look like one, else a `Reference`.

        Args:
            value: A JSON value.
            shown: What shape and sample are made from; the value itself by default.
            secret: It has something to hide: it is kept encrypted, or in this process alone, whatever its size.
            apart: It is kept by reference, whatever its size.
            final: It is the program's own value. Nothing loads that again, so that one which looks like a reference stays.

        Raises:
            JournalError: It cannot be kept.
        """
        if self._inline_bytes == sys.maxsize and not secret and not apart and (final or not is_reference(value)):
            return value  # nothing is too large, so that no size is needed
        text = json.dumps(encode(value), ensure_ascii=False)
        size = len(text.encode())
        # A tool may return what looks like a reference: kept by reference itself, it cannot point into other values.
        if size <= self._inline_bytes and not secret and not apart and (final or not is_reference(value)):
            return value
        handle = await (self._hide(text) if secret else self._keep(text))
        preview = value if shown is None else shown
        return Reference(codemode_reference=handle, bytes=size, shape=shape(preview), sample=sample(preview))

    async def keep_artifacts(self, value: Any, *, secret: bool = False, most: int | None = None) -> Any:
        """Return a result with handles in place of its artifacts, whose data are in the journal then.

        Args:
            value: The result.
            secret: The data may have something to hide, see `keep`.
            most: The most bytes of an artifact; None for no limit.

        Raises:
            ValueError: An artifact is larger.
            JournalError: They cannot be kept.
        """
        handles: dict[Artifact, ArtifactHandle] = {}
        for artifact in dict.fromkeys(_artifacts(value, set())):
            if most is not None and len(artifact.data) > most:
                raise ValueError(f"{artifact!r} has more than {most:,} bytes")
            reference = await self.keep(artifact.to_json(), shown="", secret=secret, apart=True)
            handles[artifact] = handle_of(artifact, reference["codemode_reference"])
        return _with_handles(value, handles) if handles else value

    async def artifact(self, handle: ArtifactHandle) -> Artifact:
        """Return the artifact with this handle.

        Raises:
            KeyError: This run has no such artifact, or this process cannot read it.
        """
        found = await self.fetch(handle["codemode_artifact"])
        if not isinstance(found, dict) or found.keys() != {"type", "name", "base64"}:
            raise KeyError(f"no artifact has the handle {handle['codemode_artifact']!r}")
        return Artifact.from_json(found)

    async def blocks(self, value: Any) -> list[dict[str, Any]]:
        """Return the content blocks of the artifacts in a value, each once; those that are gone are left out."""
        blocks = {}
        for handle in handles_in(value):
            with suppress(KeyError):
                blocks[handle["codemode_artifact"]] = (await self.artifact(handle)).block
        return [{**block, "id": name} for name, block in blocks.items()]

    async def load(self, value: Any) -> Any:
        """Return the value that the state's value stands for.

        Raises:
            KeyError: It is not there any more.
        """
        if not is_reference(value):
            return value
        found = await self.fetch(value["codemode_reference"])
        if value["codemode_reference"] in self._known:
            self._known.update(handle["codemode_artifact"] for handle in handles_in(found))
        return found

    async def fetch(self, handle: str) -> Any:
        """Return the value with this handle.

        Raises:
            KeyError: This run has no such value, or this process cannot read it.
        """
        run, _, name = handle.rpartition("-")
        missing = KeyError(f"no value has the handle {handle!r}")
        # Handles come from programs: one of another run must not open that run's values, unless a record of this run has it.
        if run != self._run and handle not in self._known:
            raise missing
        if handle in _SECRETS:
            return decode(json.loads(_SECRETS[handle]))
        try:
            text = await self._journal.load(run, name.removeprefix("s"))
        except KeyError:
            raise missing from None
        return decode(json.loads(_decrypt(text) if name.startswith("s") else text))

    async def _keep(self, text: str) -> str:
        return f"{self._run}-{await self._journal.keep(self._run, text)}"

    async def _hide(self, text: str) -> str:
        if os.environ.get(_KEY):
            return f"{self._run}-s{await self._journal.keep(self._run, _encrypt(text))}"
        handle = f"{self._run}-s{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        _SECRETS[handle] = text
        if len(_SECRETS) > _MOST_SECRETS:
            _SECRETS.popitem(last=False)
        return handle


def _cipher() -> EncryptedSerializer:
    return EncryptedSerializer.from_pycryptodome_aes()  # reads the key as LangGraph's own checkpointers do


def _encrypt(text: str) -> str:
    kind, data = _cipher().dumps_typed(text)
    return f"{kind}:{base64.b64encode(data).decode()}"


def _decrypt(text: str) -> str:
    kind, _, data = text.partition(":")
    return str(_cipher().loads_typed((kind, base64.b64decode(data))))


def _artifacts(value: Any, seen: set[int]) -> Iterator[Artifact]:
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))  # a cycle is refused where the value is taken
        for item in value.values() if isinstance(value, dict) else value:
            yield from _artifacts(item, seen)


def _with_handles(value: Any, handles: Mapping[Artifact, ArtifactHandle], depth: int = 0) -> Any:
    if isinstance(value, Artifact):
        return handles[value]
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: _with_handles(item, handles, depth + 1) for key, item in value.items()}
    return [_with_handles(item, handles, depth + 1) for item in value] if isinstance(value, list | tuple) else value


async def _outside_a_run(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    raise RuntimeError("values are loaded in a run, by what load_value() returns")


LOAD_VALUE = ToolSpec(
    name="load_value",
    call=_outside_a_run,
    description="Load a value that is kept by reference; of an artifact its text, or its base64 where it is no text.",
    input_schema={"type": "object", "properties": {"handle": {"type": ["string", "object"]}}, "required": ["handle"]},
    effect="read",
    source="codemode",
)
"""The tool by which a program gets at a value that is kept by reference. It is not among the cards: a prompt names it
where there is something to load."""


def load_value(values: Values, *, redact: Collection[str] = ()) -> ToolSpec:
    """Return `LOAD_VALUE` over the values of a run, which hides what the policies of the other tools redact."""

    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        handle = arguments["handle"]
        if is_handle(handle):
            artifact = await values.artifact(handle)
            return artifact.base64 if artifact.text is None else artifact.text
        return await values.fetch(str(handle["codemode_reference"] if is_reference(handle) else handle))

    return replace(LOAD_VALUE, call=call, policy=ToolPolicy(redact=frozenset(redact)))
