"""Measures what cards keep of the tools' schemas, and what they cost against the tools as OpenAI's JSON.

Run it from the repository's root: `python -m benchmarks.catalogue.card_facts FOLDER`. The folder holds what MCP servers
answered, a file a server, with `tools` as MCP lists them. It reads the schemas by itself and knows nothing of how cards are
written but that a key stands before what is said of it.

A fact counts as kept where the card of its tool has the key and, before the next key, the fact:

* enum: one allowed value; format, pattern: as the schema has it, a pattern only where no format says the same;
* required: that a key must be there, or that it may be missing; default; bound: but not those of a machine's integers;
* exact: a quoted, coded or numeric token of a description, words: its other words that are not in the key. For these the
  lines that have the key are looked at, for a tool's own description the whole card.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codemode_graph.tools.cards import estimate_tokens, render_card, render_cards
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.spec import ToolSpec, effect_from_hints

KINDS = ("enum", "format", "pattern", "required", "default", "bound", "exact", "words")
_BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
_MACHINE = frozenset({0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**53 - 1, 2**63 - 1})
_DEPTH = 12
_EXACT = re.compile(r"`[^`\n]{1,80}`|'[^'\n]{1,60}'|\"[^\"\n]{1,60}\"|[@$]\w[\w.]*|\b\d+(?:[.:/-]\d+)*\b")
_WORD = re.compile(r"[A-Za-z]{3,}")
_STOP = frozenset(
    [
        "the",
        "and",
        "for",
        "are",
        "with",
        "that",
        "this",
        "from",
        "its",
        "not",
        "can",
        "will",
        "you",
        "your",
        "has",
        "which",
        "was",
        "may",
        "when",
        "only",
    ]
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact of a schema: its kind, the key that it is of (empty for the tool), and what the card should have of it."""

    kind: str
    key: str
    text: str


async def _call(arguments: dict[str, Any], config: Any) -> Any:
    raise NotImplementedError


def read_servers(folder: Path) -> dict[str, list[ToolSpec]]:
    """Return the tools of each server, with the effects that their annotations declare."""
    return {path.stem: list(_specs(path)) for path in sorted(folder.glob("*.json"))}


def _specs(path: Path) -> Iterator[ToolSpec]:
    for tool in json.loads(path.read_text(encoding="utf-8"))["tools"]:
        hints = tool.get("annotations") or {}
        effect = effect_from_hints(
            read_only=hints.get("readOnlyHint"),
            destructive=hints.get("destructiveHint"),
            idempotent=hints.get("idempotentHint"),
        )
        yield ToolSpec(
            name=f"{path.stem}/{tool['name']}",
            description=tool.get("description") or "",
            input_schema=tool["inputSchema"],
            output_schema=tool.get("outputSchema"),
            effect=effect or infer_effect(tool["name"], tool["inputSchema"]),
            declared=effect is not None,
            source=f"mcp:{path.stem}",
            call=_call,
        )


def openai_json(spec: ToolSpec) -> str:
    """Return a tool as OpenAI's API takes it, without a space too many."""
    function = {"name": spec.name, "description": spec.description, "parameters": spec.input_schema}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False, separators=(",", ":"))


def facts_of(spec: ToolSpec) -> set[Fact]:
    """Return the facts of a tool's description and schemas."""
    found = set(_described(spec.description, ""))
    for schema in (spec.input_schema, spec.output_schema):
        if isinstance(schema, Mapping):
            found |= set(_facts(schema, "", schema, frozenset(), 0))
    return found


def _facts(schema: object, key: str, root: Mapping[str, Any], seen: frozenset[str], depth: int) -> Iterator[Fact]:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return
    if isinstance(ref := schema.get("$ref"), str) and ref not in seen:
        yield from _facts(_follow(ref, root), key, root, seen | {ref}, depth + 1)
    for value in [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]:
        yield Fact("enum", key, value if isinstance(value, str) else repr(value))
    if isinstance(form := schema.get("format"), str):
        yield Fact("format", key, form)
    elif isinstance(pattern := schema.get("pattern"), str):
        yield Fact("pattern", key, pattern)
    if schema.get("default") is not None:
        yield Fact("default", key, repr(schema["default"]))
    for name in _BOUNDS:
        value = schema.get(name)
        if isinstance(value, int | float) and not {abs(value), abs(value) - 1} & _MACHINE:
            yield Fact("bound", key, f"{value:g}" if isinstance(value, float) else str(value))
    if key and isinstance(schema.get("description"), str):
        yield from _described(schema["description"], key)
    required = schema.get("required", [])
    for name, each in schema.get("properties", {}).items():
        yield Fact("required", name, "yes" if name in required else "no")
        yield from _facts(each, name, root, seen, depth + 1)
    for word in ("items", "additionalProperties"):
        yield from _facts(schema.get(word), key, root, seen, depth + 1)
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in schema.get(word, []):
            yield from _facts(each, key, root, seen, depth + 1)


def _follow(ref: str, root: Any) -> Any:
    for step in ref.removeprefix("#").strip("/").split("/"):
        root = root.get(step, {}) if isinstance(root, Mapping) else {}
    return root


def _described(text: str, key: str) -> Iterator[Fact]:
    for token in _EXACT.findall(text):
        yield Fact("exact", key, token.strip("`'\""))
    for word in {word.lower() for word in _WORD.findall(text)} - _STOP:
        if word not in key.lower():
            yield Fact("words", key, word)


def reader_of(card: str) -> Callable[[Fact], bool]:
    """Return a function that tells whether a card has a fact."""
    places: dict[str, list[str]] = {}
    lines = card.splitlines()

    def said(key: str) -> list[str]:
        if key not in places:
            word = re.escape(re.sub(r"\W", "_", key).strip("_"))
            written = rf"(?<!\w)(?:'{re.escape(key)}'|{re.escape(key)}|{word}_?)(?!\w)"
            places[key] = re.findall(rf"{written}\??: .*?(?=, '?[\w$@. -]+'?\??: |$)", card, re.MULTILINE)
            places[f"lines of {key}"] = [line.lower() for line in lines if re.search(written, line)]
        return places[key]

    def has(fact: Fact) -> bool:
        if not fact.key:
            return fact.text.lower() in card.lower()
        texts = said(fact.key)
        if fact.kind == "required":
            must = [not re.match(r"[^:]*\?: ", text) and not re.search(r"^[^{]* = \S|\} = \S", text) for text in texts]
            return (fact.text == "yes") in must
        if fact.kind in ("exact", "words"):
            return any(fact.text.lower() in line for line in places[f"lines of {fact.key}"])
        return any(fact.text in text or repr(fact.text)[1:-1] in text for text in texts)

    return has


def measure(specs: list[ToolSpec]) -> tuple[Counter[str], Counter[str], list[tuple[str, Fact]]]:
    """Return how many facts there are of each kind, how many are kept, and those lost, with their tools."""
    every, kept, lost = Counter[str](), Counter[str](), list[tuple[str, Fact]]()
    for spec in specs:
        has = reader_of(render_card(spec))
        for fact in facts_of(spec):
            every[fact.kind] += 1
            if has(fact):
                kept[fact.kind] += 1
            else:
                lost.append((spec.name, fact))
    return every, kept, lost


def main() -> None:
    """Print the share of the facts that cards keep, and their tokens, for each server and for all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue.card_facts", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the servers' files")
    parser.add_argument("--lost", choices=KINDS, help="print the facts of a kind that are lost, too")
    arguments = parser.parse_args()
    servers = read_servers(arguments.folder)
    print(f"| server | tools | JSON | cards | share | one by one | {' | '.join(KINDS)} |")
    print(f"| --- |{' ---: |' * (5 + len(KINDS))}")
    for name, specs in [*servers.items(), ("all", [spec for each in servers.values() for spec in each])]:
        every, kept, lost = measure(specs)
        whole = sum(estimate_tokens(openai_json(spec)) for spec in specs)
        cards = estimate_tokens(render_cards(specs))
        single = sum(estimate_tokens(render_card(spec)) for spec in specs)
        shares = " | ".join(f"{kept[kind] / every[kind]:.3f}" if every[kind] else "" for kind in KINDS)
        print(f"| {name} | {len(specs)} | {whole} | {cards} | {cards / whole:.2f} | {single / whole:.2f} | {shares} |")
        if name == "all" and arguments.lost:
            for tool, fact in lost:
                if fact.kind == arguments.lost:
                    print(tool, fact.key, fact.text)


if __name__ == "__main__":
    main()
