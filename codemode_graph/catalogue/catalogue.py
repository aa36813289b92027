"""The tools of a run as a model reads them: all their cards, or where these are many, a way to find the right ones.

Past a budget of tokens the prompt names the places that tools come from, shows the cards that fit the task best, and tells
how a program finds more: `search_tools` and `describe_tool`. The check knows all tools, whatever the prompt shows.
"""

import asyncio
import copy
import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from codemode_sandboxes.tool_names import ToolNames
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig

from codemode_graph.catalogue.observation import Observations, ObservedSchemas
from codemode_graph.errors import ToolLoadError
from codemode_graph.tools.cards import call_start, estimate_tokens, render_cards, render_seen
from codemode_graph.tools.signatures import Signatures, Stubs
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line, suggest

if TYPE_CHECKING:
    from codemode_graph.catalogue.search import ToolIndex

CARD_TOKENS = 8_000
"""Estimated tokens that the cards in a prompt may take, unless `card_tokens` says otherwise."""

# Tokens of the list of places, which every prompt has; and the tools that a place is told by.
_PLACES_TOKENS = 1_200
_EXAMPLES = 4
# Cards that a prompt shows, and the share of the budget that they may take: a model reads few cards better than many.
_CARDS = 12
_CARDS_SHARE = 0.4
# Tools whose cards are written first to find out whether all are too many for a prompt.
_FIRST = 64
_LIMIT = 8
_MOST_FOUND = 50
_MOST_STEPS = 6
# Tasks of which the tools that fit are kept.
_TASKS = 32
_STEPS = re.compile(r"[.;:,\n]+|\b(?:and|then|if|for each)\b")
_PLACE = re.compile(r"^(\w[\w -]*?)(?:/|\.|:|__)")


async def _outside_a_catalogue(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    raise RuntimeError("tools are searched by the specs in Catalogue.tools")


SEARCH_TOOLS = ToolSpec(
    name="search_tools",
    call=_outside_a_catalogue,
    description="Find tools by what they do, best first. Each has its `name` and its `card`.",
    input_schema={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words for what the tool is to do."},
            "limit": {"type": "integer", "default": _LIMIT, "minimum": 1, "maximum": _MOST_FOUND},
        },
        "required": ["query"],
    },
    output_schema={
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "card": {"type": "string"}},
            "required": ["name", "card"],
        },
    },
    effect="read",
    source="codemode",
)
DESCRIBE_TOOL = ToolSpec(
    name="describe_tool",
    call=_outside_a_catalogue,
    description="Return the card of one tool: how it is called, and what comes back.",
    input_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    output_schema={"type": "string"},
    effect="read",
    source="codemode",
)


class Catalogue:
    """The tools of a run, as its prompts tell of them and as its checks know them. Graphs with the same tools share one.

    Signatures, stubs and cards are written at their first use, which takes a second for a thousand tools: await them in a
    thread.

    Args:
        specs: The tools that programs may call.
        others: Tools that programs may call and no prompt shows; one that has the name of another tool is left out.
        tokens: Estimated tokens that all cards may take; past that, programs and prompts search. None shows all cards.
        embeddings: Lets searches go by meaning as well.

    Raises:
        ToolLoadError: Programs are to search, and a tool has the name of `search_tools` or `describe_tool`.
    """

    def __init__(
        self,
        specs: Sequence[ToolSpec],
        *,
        others: Sequence[ToolSpec] = (),
        tokens: int | None = CARD_TOKENS,
        embeddings: Embeddings | None = None,
    ) -> None:
        self._specs, self._others = tuple(specs), others
        self._tokens, self._embeddings = tokens, embeddings
        self._observed: tuple[str, Catalogue] | None = None
        self._origin: Catalogue | None = None
        # Runs that begin together, each in a thread, must not each write all signatures.
        self._lock = threading.RLock()
        if self.is_searched:
            for name in {spec.name for spec in specs} & {SEARCH_TOOLS.name, DESCRIBE_TOOL.name}:
                raise ToolLoadError(
                    f"the tools are so many that programs search them with {SEARCH_TOOLS.name} and {DESCRIBE_TOOL.name}, "
                    f"and one of yours is called {name!r}: give it another name, or show all cards with card_tokens=None"
                )

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that programs may call, without those that search them."""
        return self._specs

    @cached_property
    def callable(self) -> tuple[ToolSpec, ...]:
        """All tools that a program may call: with those that search them, and those that no prompt shows."""
        names = {spec.name for spec in self._specs}
        return (*self._specs, *self.tools, *(spec for spec in self._others if spec.name not in names))

    @cached_property
    def _signatures(self) -> Signatures:
        return Signatures.of(self.callable)

    @property
    def signatures(self) -> Signatures:
        """The signatures of all tools that a program may call."""
        with self._lock:
            return self._signatures

    async def read_signatures(self) -> Signatures:
        """Return `signatures`. The first time they are read, off the event loop."""
        if "_signatures" in vars(self):  # a thread costs more than what is left to do
            return self._signatures
        return await asyncio.to_thread(lambda: self.signatures)

    @cached_property
    def _stubs(self) -> Stubs:
        return Stubs(self.signatures)

    @property
    def stubs(self) -> Stubs:
        """The same as declarations, for the type checker."""
        with self._lock:
            return self._stubs

    @cached_property
    def _observations(self) -> Observations:
        return Observations(self.signatures)

    async def observations(self) -> Observations:
        """Return the tools that declare no result. The first time their signatures are read, off the event loop."""
        known: Observations | None = self.__dict__.get("_observations")
        return known if known is not None else await asyncio.to_thread(lambda: self._observations)

    def with_observed(self, known: ObservedSchemas) -> "Catalogue":
        """Return the catalogue with what is known of results that tools do not declare, by the tools' names."""
        if not known:
            return self
        text = json.dumps(known, sort_keys=True)
        if self._observed is None or self._observed[0] != text:
            changed = copy.copy(self)
            # Cards are written anew. How the tools are shown stays, as the graph was made for it, and so do their signatures:
            # what was only seen refuses no program.
            for name in ("cards", "tools", "callable", "_by_name", "_shown"):
                changed.__dict__.pop(name, None)
            changed.__dict__["is_searched"] = self.is_searched
            # The index is that of the tools as they declare themselves; a run that searches nothing makes none.
            changed._origin = self._origin or self
            changed._specs = tuple(
                replace(spec, observed_schema=known[spec.name]) if spec.name in known else spec for spec in self._specs
            )
            self._observed = (text, changed)
        return self._observed[1]

    @cached_property
    def _shown(self) -> Signatures:
        """The signatures as cards show them, with what earlier calls returned."""
        return self.signatures.with_seen([spec for spec in self._specs if spec.observed_schema])

    @cached_property
    def cards(self) -> str:
        """The cards of all tools."""
        return self._render(self._specs)

    @cached_property
    def _by_name(self) -> dict[str, ToolSpec]:
        return {spec.name: spec for spec in self._specs}

    @cached_property
    def is_searched(self) -> bool:
        """True where the cards are too many for a prompt."""
        if self._tokens is None:
            return False
        # A thousand cards are not written to find that they are too many: the first of them show it.
        count = _FIRST
        while count < len(self._specs):
            if self._count(self._specs[:count]) > self._tokens:
                return True
            count *= 4
        return self._count(self._specs) > self._tokens

    def _count(self, specs: Sequence[ToolSpec]) -> int:
        # With signatures of their own: those of the catalogue have the tools that search, if programs search at all.
        return estimate_tokens(render_cards(specs))

    @cached_property
    def index(self) -> "ToolIndex":
        """The index of the tools."""
        from codemode_graph.catalogue.search import ToolIndex

        return ToolIndex(self._specs, embeddings=self._embeddings) if self._origin is None else self._origin.index

    @cached_property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools by which programs search; empty where the prompt shows all cards."""
        if not self.is_searched:
            return ()
        return (replace(SEARCH_TOOLS, call=self._search), replace(DESCRIBE_TOOL, call=self._describe))

    def text(self, task: str = "", *, names: Sequence[str] = ()) -> str:
        """Return what a prompt says of the tools: all cards, or the places, the cards that fit, and how to find more.

        Args:
            task: What the program is to do. Without it no cards are shown beside the places.
            names: Tools whose cards come first, such as those that an earlier search found.
        """
        if not self.is_searched:
            return self.cards or "(none)"
        parts = [
            f"There are {len(self._specs)} tools, too many to show. They are from:\n\n{self._places}",
            "A program finds more tools, and what they take and return, with these:\n\n"
            + render_cards([SEARCH_TOOLS, DESCRIBE_TOOL]),
            "Call no tool whose card you have not read. Where the cards below do not do, write a short program first that "
            "returns what `search_tools` finds, and nothing else: you then see it, and write the program for the task.",
        ]
        if cards := self._fitting(task, names):
            parts.append(f"These may fit the task:\n\n{cards}")
        return "\n\n".join(parts)

    @cached_property
    def digest(self) -> str:
        """A digest of the tools as they declare themselves, and of how prompts show them; the same in every process."""
        if self._origin is not None:
            return self._origin.digest
        known = hashlib.sha256(repr((self._tokens, self.is_searched)).encode())
        for spec in self._specs:
            facts = (
                spec.name,
                spec.description,
                spec.input_schema,
                spec.output_schema,
                spec.effect_in_force,
                spec.undeclared,
            )
            known.update(json.dumps(facts, sort_keys=True, default=str).encode())
        return known.hexdigest()

    def news(self, shown: str, *, called: Sequence[str], found: Sequence[str]) -> tuple[list[str], str]:
        """Return what a repair tells of tools beyond the cards that its run began with.

        Args:
            shown: What those cards say.
            called: Tools of the program, by their names or attributes: what earlier calls of them returned is told.
            found: Tools that a search of the run has found: their cards are given.

        Returns:
            Lines on what calls returned; cards.
        """
        cards = ""
        if self.is_searched and (hidden := [name for name in found if call_start(name) not in shown]):
            cards = self._fit(self._by_name[name] for name in hidden if name in self._by_name)
        attributes = ToolNames(self._by_name).by_attribute
        names = dict.fromkeys(name if name in self._by_name else attributes.get(name, "") for name in called)
        specs = [self._by_name[name] for name in names if name in self._by_name]
        lines: list[str] = []
        for name, (kind, *types) in render_seen(specs, self._shown).items():
            if not all(line in f"{shown}\n{cards}" for line in (f"seen: {kind}", *types)):
                lines += [f"- tools[{name!r}], seen: {kind}", *(f"  {line}" for line in types)]
        return lines, cards

    def names(self, tool: str, arguments: dict[str, Any]) -> list[str]:
        """Return the names of the tools that a call of `search_tools` or `describe_tool` finds."""
        if tool == DESCRIBE_TOOL.name:
            return [str(arguments["name"])]
        return [spec.name for spec in self.index.search(str(arguments["query"]), limit=_limit(arguments.get("limit")))]

    def find(self, task: str) -> list[ToolSpec]:
        """Return the tools that fit a task best: for the whole of it and for each of its steps, in turn.

        A task of several steps has words for several tools, and the words of one step must not outweigh the others.
        """
        # The index has the tools as they declare themselves.
        return [self._by_name[name] for name in (self._origin or self)._names_for(task)]

    @cached_property
    def _names_for(self) -> Callable[[str], list[str]]:
        # The node that finds tools asks first, and the prompt of the same task again; the tools of a catalogue never change.
        return lru_cache(maxsize=_TASKS)(self._find_names)

    def _find_names(self, task: str) -> list[str]:
        steps = [task, *(part for part in _STEPS.split(task) if len(part.split()) > 1)][: 1 + _MOST_STEPS]
        orders = [self.index.search(step, limit=_CARDS) for step in dict.fromkeys(steps)]
        turns = (spec for turn in zip_longest(*orders) for spec in turn if spec is not None)
        return list(dict.fromkeys(spec.name for spec in turns))[:_CARDS]

    def _fitting(self, task: str, names: Sequence[str]) -> str:
        found = [self._by_name[name] for name in names if name in self._by_name]
        return self._fit([*found, *self.find(task)])

    def _fit(self, specs: Iterable[ToolSpec]) -> str:
        """Return the cards of as many tools as a prompt has room for."""
        most = int((self._tokens or 0) * _CARDS_SHARE)
        shown, cards = list[ToolSpec](), ""
        for spec in {spec.name: spec for spec in specs}.values():
            # Together, since what cards share stands in the first of them only.
            longer = self._render([*shown, spec])
            # The best one is shown even where its card is long: without any, the model could only guess.
            if not shown or estimate_tokens(longer) <= most:
                shown, cards = [*shown, spec], longer
        return cards

    def _render(self, specs: Sequence[ToolSpec]) -> str:
        return render_cards(specs, signatures=self._shown)

    @cached_property
    def _places(self) -> str:
        places: defaultdict[str, list[str]] = defaultdict(list)
        for spec in self._specs:
            places[_place_of(spec)].append(spec.name)
        lines, room, others = list[str](), _PLACES_TOKENS, list[str]()
        for place, names in sorted(places.items(), key=lambda item: -len(item[1])):
            step = max(1, len(names) // _EXAMPLES)
            examples = ", ".join(name.removeprefix(f"{place}/") for name in names[::step][:_EXAMPLES])
            count = f"{len(names)} tools" if len(names) > 1 else "1 tool"
            line = one_line(f"- {place}, {count}: {examples}{', ...' if len(names) > _EXAMPLES else ''}")
            room -= estimate_tokens(line)
            if room >= 0:
                lines.append(line)
            else:
                others.append(place)
        if others:
            lines.append(one_line(f"- and {len(others)} others: {', '.join(others)}"))
        return "\n".join(lines)

    async def _search(self, arguments: dict[str, Any], config: RunnableConfig) -> Any:
        names = self.names(SEARCH_TOOLS.name, arguments)
        return [{"name": name, "card": self._render([self._by_name[name]])} for name in names]

    async def _describe(self, arguments: dict[str, Any], config: RunnableConfig) -> Any:
        name = str(arguments["name"])
        if name not in self._by_name:
            raise KeyError(f"no tool is named {name!r}; {suggest(name, self._by_name)}".rstrip("; "))
        return self._render([self._by_name[name]])


def _limit(value: object) -> int:
    """Return how many tools a search may give; the default for None.

    Raises:
        ValueError: It is no whole number, or less than 1: an empty answer would say that no tool does it.
    """
    if value is None:
        return _LIMIT
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"limit is a whole number from 1 to {_MOST_FOUND}, not {one_line(value, 80)}")
    return min(number, _MOST_FOUND)


def _place_of(spec: ToolSpec) -> str:
    if spec.source.startswith("mcp:"):
        return spec.source.removeprefix("mcp:")
    found = _PLACE.match(spec.name)
    return found[1] if found else "tools"
