"""The observed types of tools that declare no result: learned from runs, kept, shown, forgotten.

Types of results are kept by the server and by the version of the tool: a digest of all that it declares. They are a hint.
A card shows them, and the check corrects the spelling of a key by them; nothing is refused because of them.
"""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import anyio

from codemode_graph.catalogue.merge import merge, restrict
from codemode_graph.catalogue.tally import Tally
from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.spec import ToolSpec

ObservedSchemas: TypeAlias = Mapping[str, Mapping[str, Any]]
"""JSON Schemas of what tools returned that declare no result, by the tools' names."""

_TOPIC = "observed types"
_FORMAT = "codemode-graph observed types"
# Tools of one server whose results are known, old versions included; characters of what is known of one.
_MOST_TOOLS = 1_000
_LONGEST = 30_000


@runtime_checkable
class Notes(Protocol):
    """Keeps short texts that belong to no run. The journals of this package do, beside their runs."""

    async def notes(self, topic: str) -> dict[str, str]:
        """Return the texts of a topic, by their keys."""
        ...

    async def note(self, topic: str, key: str, text: str | None) -> None:
        """Keep a text, or remove it. The last to write a text wins."""
        ...


class Observations:
    """The tools of a run that declare no result, and what is known of their results.

    Args:
        signatures: Those of all tools of the run.
    """

    def __init__(self, signatures: Signatures) -> None:
        vague = [each.tool for each in signatures.tools if each.is_vague]
        self._specs = {spec.name: spec for spec in vague if spec.source != "codemode" and not spec.program}
        self._by_topic: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for spec in self._specs.values():
            self._by_topic[_topic(spec)][_key(spec)] = spec.name

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools whose results are learned."""
        return frozenset(self._specs)

    def tally(self, tool: str) -> Tally:
        """Return an empty tally of a tool's results."""
        return Tally(self._specs[tool])

    async def load(self, notes: Notes) -> dict[str, dict[str, Any]]:
        """Return the JSON Schemas that are known, by the tools' names."""
        found = {}
        for topic, names in self._by_topic.items():
            for key, text in (await notes.notes(topic)).items():
                if key in names and (schema := _read(text)):
                    found[names[key]] = schema
        return found

    async def learn(self, notes: Notes, tallies: Mapping[str, Tally]) -> None:
        """Add what a run saw to what is known.

        Args:
            notes: Where it is kept.
            tallies: What tools returned in the run, by their names.
        """
        await self._add(notes, {name: tally.schema() for name, tally in tallies.items()})

    async def dump(self, notes: Notes) -> dict[str, Any]:
        """Return what is known, for a file."""
        known = await self.load(notes)
        tools = [
            {
                "server": spec.source,
                "tool": spec.own_name or spec.name,
                "version": version_of(spec),
                "seen": restrict(known[name]),
            }
            for name, spec in self._specs.items()
            if name in known
        ]
        return {"format": _FORMAT, "tools": tools}

    async def restore(self, notes: Notes, dumped: object) -> list[str]:
        """Add what a file has to what is known, and return the names of the tools that it was of.

        Tools that are not here, or have been changed since, are left out.

        Raises:
            ValueError: It was not written by `dump`.
        """
        if not isinstance(dumped, Mapping) or dumped.get("format") != _FORMAT:
            raise ValueError("it is no file of observed types")
        schemas: dict[str, dict[str, Any]] = {}
        tools = dumped.get("tools") or []
        if not isinstance(tools, list):
            raise ValueError("it has no list of tools")
        for each in tools:
            if not isinstance(each, Mapping):
                raise ValueError("an entry is no tool")
            place = (f"{_TOPIC} {each.get('server')}", f"{each.get('tool')} {each.get('version')}")
            name = self._by_topic.get(place[0], {}).get(place[1])
            if name is not None:
                # A card shows names to a model, so those of a file are held against the tool as those of a result are.
                schemas[name] = self.tally(name).filter(restrict(each.get("seen")))
        await self._add(notes, schemas)
        return list(schemas)

    async def forget(self, notes: Notes) -> list[str]:
        """Remove what is known of the tools, and return their names."""
        known = await self.load(notes)
        for name in known:
            await notes.note(_topic(self._specs[name]), _key(self._specs[name]), None)
        return list(known)

    async def _add(self, notes: Notes, schemas: Mapping[str, dict[str, Any]]) -> None:
        for name, schema in schemas.items():
            topic, key = _topic(self._specs[name]), _key(self._specs[name])
            texts = await notes.notes(topic)
            known = _read(texts.get(key, ""))
            merged = merge(known, schema)
            # What is too large to keep is what no card could show.
            if merged == known or len(text := json.dumps({"seen": merged, "changed": time.time()})) > _LONGEST:
                continue
            await notes.note(topic, key, text)
            # Not this tool, though it may have been the oldest.
            texts.pop(key, None)
            oldest = sorted(texts, key=lambda each: _changed(texts[each]))
            for old in oldest[: max(0, len(texts) - _MOST_TOOLS + 1)]:
                await notes.note(topic, old, None)


class ObservedTypes:
    """The observed types of tools that declare no result: to look at, to keep as a file, to forget.

    Args:
        observations: Returns the tools.
        notes: Where it is kept.
    """

    def __init__(self, observations: Callable[[], Awaitable[Observations]], notes: Notes) -> None:
        self._observations, self._notes = observations, notes

    async def schemas(self) -> dict[str, dict[str, Any]]:
        """Return the JSON Schema of what each tool returned, by the tools' names; only tools of which some is known."""
        return {
            name: restrict(schema) for name, schema in (await (await self._observations()).load(self._notes)).items()
        }

    async def export(self, path: str | os.PathLike[str]) -> list[str]:
        """Write a file with what is known, and return the names of the tools.

        Raises:
            OSError: It cannot be written.
        """
        dumped = await (await self._observations()).dump(self._notes)
        await anyio.Path(path).write_text(json.dumps(dumped, indent=2) + "\n", encoding="utf-8")
        return [each["tool"] for each in dumped["tools"]]

    async def load(self, path: str | os.PathLike[str]) -> list[str]:
        """Add what a file of `export` has to what is known, and return the names of the tools that it was of.

        Tools that are not here, or have been changed since, are left out.

        Raises:
            ConfigurationError: It is no such file.
            OSError: It cannot be read.
        """
        try:
            dumped = json.loads(await anyio.Path(path).read_text(encoding="utf-8"))
            return await (await self._observations()).restore(self._notes, dumped)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path} cannot be read as observed types: {error}") from None

    async def forget(self) -> list[str]:
        """Remove what is known, and return the names of the tools."""
        return await (await self._observations()).forget(self._notes)


def _topic(spec: ToolSpec) -> str:
    return f"{_TOPIC} {spec.source}"


def _key(spec: ToolSpec) -> str:
    return f"{spec.own_name or spec.name} {version_of(spec)}"


def version_of(spec: ToolSpec) -> str:
    """Return a digest of all that a tool declares."""
    declared = [spec.own_name or spec.name, spec.description, spec.input_schema, spec.output_schema]
    return hashlib.sha256(json.dumps(declared, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _read(text: str) -> dict[str, Any]:
    try:
        return restrict(json.loads(text)["seen"], own=True) if text else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}  # of a later version, or damaged: it is learned anew


def _changed(text: str) -> float:
    try:
        return float(json.loads(text)["changed"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0.0
