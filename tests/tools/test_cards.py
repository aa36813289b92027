from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.catalogue.card_facts import measure, openai_json, read_servers
from codemode_graph.tools.cards import estimate_tokens, render_card, render_cards
from codemode_graph.tools.spec import Effect, ToolPolicy, ToolSpec
from codemode_graph.tools.text import condense, first_sentence, one_line
from tests.tools.hostile import names, schemas

Make = Callable[..., ToolSpec]
DATA = Path(__file__).parents[3] / "shared" / "data" / "catalogues" / "mcp"

EVENT = {
    "title": "Event",
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "start": {"type": "string", "format": "date-time"},
        "attendees": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "start"],
}


def test_a_card_shows_the_call_what_comes_back_and_what_the_arguments_mean(make: Make) -> None:
    tool = make(
        "list-events",
        {
            "limit": {"type": "integer", "default": 50, "description": "The limit."},
            "calendar_id": {"type": "string", "description": 'Which calendar, "work" or "home". More words.'},
            "status": {"enum": ["open", "closed"]},
            "from": {"type": "string", "format": "date"},
        },
        {"type": "array", "items": EVENT},
        required=["calendar_id"],
        description="Lists the events of a calendar. Ignores rooms.",
        effect="read",
    )
    assert render_card(tool) == (
        "await tools['list-events'](calendar_id: str, limit: int = 50, status?: 'open' | 'closed', from_?: str (date))"
        " -> list[Event]\n"
        "    Lists the events of a calendar. Ignores rooms.\n"
        '    calendar_id: Which calendar, "work" or "home". More words.\n'
        "Event = {id: str, start: str (date-time), attendees?: list[str]}"
    )


def test_a_result_that_is_not_declared_is_described_in_words(make: Make) -> None:
    assert render_card(make("a", effect="read")) == "await tools['a']()"
    described = make("a", effect="read", description="Finds.\n\nReturns:\n    A dict with `items` and `total`. Or so.")
    assert render_card(described) == (
        "await tools['a']()\n    Finds.\n    returns, not declared: A dict with `items` and `total`. Or so."
    )


@pytest.mark.parametrize(
    ("effect", "mark"), [("read", ""), ("idempotent", "[idempotent"), ("write", "[write"), ("destructive", "[destruct")]
)
def test_an_effect_is_marked_and_a_policy_has_the_last_word(make: Make, effect: Effect, mark: str) -> None:
    for tool in (make(effect=effect), make(effect="write", policy=ToolPolicy(effect=effect))):
        about = render_card(tool).removeprefix("await tools['t']()")
        assert mark in about
        assert ("[" in about) == bool(mark)


def test_a_type_that_several_tools_share_stands_at_its_first_use(make: Make) -> None:
    text = render_cards([make("a", output=EVENT), make("b", output={"type": "array", "items": EVENT}), make("c")])
    assert text.count("Event = {") == 1
    assert "Event = {" in text.split("\n\n")[0]


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "-> {a: int}"),
        ({"type": "object", "properties": {"b c": {}}, "additionalProperties": True}, "-> {'b c'?: Any, ...}"),
        ({"additionalProperties": {"type": "number"}}, "-> dict[str, float]"),
        ({"enum": [f"v{n}" for n in range(30)]}, "'v28' | 'v29'"),
        ({"$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"}, "-> N\n"),
        ({"properties": {"n": {"$ref": "#"}}}, "-> TResult\n"),
    ],
)
def test_results_are_shown_in_short(make: Make, schema: Any, shown: str) -> None:
    assert shown in render_card(make(output=schema)) + "\n"


def test_a_huge_result_is_cut_off_and_the_card_says_so(make: Make) -> None:
    parts = {f"part{n}": {"title": f"Part{n}", "properties": {f"k{m}": {} for m in range(499)}} for n in range(30)}
    card = render_card(make(output={"type": "object", "properties": parts}))
    assert len(card) < 60_000
    assert "and 99 more" in card
    assert "too large to show" in card


BY_ID = {"required": ["id"]}
BY_NAME = {"required": ["name", "place"]}


@pytest.mark.parametrize(
    ("schema", "needs"),
    [
        ({"anyOf": [BY_ID, BY_NAME]}, "needs id; or name and place"),
        ({"oneOf": [BY_ID, BY_NAME]}, "needs exactly one of: id; or name and place"),
        ({"allOf": [{"anyOf": [BY_ID, BY_NAME]}, {"not": {"required": ["id", "name"]}}]}, "needs not id with name"),
        ({"allOf": [{"anyOf": [BY_ID, BY_NAME]}, {"anyOf": [BY_ID, {"required": ["kind"]}]}]}, "needs id; or name and"),
        ({"dependentRequired": {"name": ["place"]}}, "needs name only with place"),
        ({"dependencies": {"name": ["place"]}}, "needs name only with place"),
        ({"dependentSchemas": {"name": {"required": ["place"]}}}, "needs name only with place"),
        (
            {"if": {"properties": {"kind": {"const": "file"}}}, "then": BY_ID, "else": BY_NAME},
            "needs where kind = 'file': id",
        ),
        ({"if": {"required": ["name"]}, "then": {"required": ["place"]}}, "needs where name: place"),
        ({"$ref": "#/$defs/X", "$defs": {"X": {"anyOf": [BY_ID, BY_NAME]}}}, "needs id; or name and place"),
    ],
)
def test_what_goes_together_is_told_of_arguments_and_of_types(make: Make, schema: dict[str, Any], needs: str) -> None:
    keys = {name: {"type": "string"} for name in ("id", "name", "place", "kind")}
    whole = {"type": "object", "properties": keys, **schema}
    tool = replace(make("find"), input_schema=whole)
    assert f"\n    {needs}" in render_card(tool)
    inner = {name: value for name, value in whole.items() if name != "$defs"}
    nested = replace(
        make("find"),
        input_schema={"type": "object", "properties": {"by": inner}, "$defs": schema.get("$defs", {})},
    )
    call, _, type_of = render_card(nested).partition("FindBy = ")
    assert "by?: FindBy)" in call
    assert f"\n    {needs}" in type_of


def test_alternatives_of_arguments_keep_the_values_of_each(make: Make) -> None:
    branches = [
        {"properties": {"kind": {"const": kind}, key: {"type": "string"}}, "required": ["kind", key]}
        for kind, key in (("file", "path"), ("web", "url"))
    ]
    card = render_card(replace(make("open"), input_schema={"type": "object", "oneOf": branches}))
    assert "kind: 'file' | 'web', path?: str, url?: str" in card
    assert "needs exactly one of: kind = 'file' and path; or kind = 'web' and url" in card


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string", "format": "uri"}, "str (uri)"),
        ({"type": "string", "format": "json"}, "str (json)"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "str (/^[a-z]+$/)"),
        ({"type": "string", "pattern": f"^{'.' * 50}$", "format": "date"}, "str (date)"),
        ({"type": "string", "pattern": "^https:", "format": "uri"}, "str (uri, /^https:/)"),
        ({"format": "date-time"}, "Any (date-time)"),
        ({"type": ["string", "null"], "format": "date"}, "str (date) | None)"),
        ({"type": "string", "not": {"enum": ["root", "admin"]}}, "str (not 'root' or 'admin')"),
        ({"type": "string", "not": {"pattern": "^tmp"}}, "str (not /^tmp/)"),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 65535}, "int (at most 65535, > 3)"),
        ({"type": "array", "items": {"type": "string"}, "contains": {"const": "x"}}, "list[str] (some of them 'x')"),
        ({"type": "array", "contains": {"const": "x"}, "minContains": 2}, "list[Any] (at least 2 of them 'x')"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"enum": ["km"]}], "items": False}, "tuple[float, 'km'] (at most 2 items)"),
        ({"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "integer"}}, "tuple[str, *list[int]]"),
        ({"enum": [f"zone {n}" for n in range(5_000)]}, "str (one of 5,000 values, such as 'zone 0', 'zone 1'"),
        ({"const": {"a": 1}}, "dict (only {'a': 1})"),
        ({"enum": [["a", "b"], ["c"]]}, "list[Any] (only ['a', 'b'] or ['c'])"),
        ({"anyOf": [{"const": f"v{n}"} for n in range(40)]}, "'v39'"),
        ({"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False}, "dict[str (/^x-/), int]"),
        ({"patternProperties": {"^x": {"enum": ["a"]}, "^y": {"type": "integer"}}, "additionalProperties": False}, "{/^x/: 'a', /^y/: int}"),
        ({"type": "object", "properties": {"id": {"type": "string"}}, "unevaluatedProperties": False}, "{id?: str}"),
        ({"type": "object", "properties": {"id": {"type": "string"}, "no": False}}, "{id?: str}"),
        ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "minProperties": 1}, "dict[str (/^[a-z]+$/), Any] (at least 1 key)"),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1}, "    needs at least 1 key"),
        ({"type": "number", "title": "Weight (kg)"}, "x: Weight (kg)"),
        ({"type": "string", "readOnly": True}, "x: Read-only."),
        ({"type": "object", "default": {f"key{n}": n for n in range(60)}}, "x: dict = {'key0': 0, 'key1': 1"),
        ({"type": "string", "minLength": 1, "maxLength": 64}, "str (1..64 characters)"),
        ({"type": "integer", "minimum": 1, "maximum": 100}, "int (1..100)"),
        ({"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}, "x?: int)"),
        ({"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}, "float (> 0, multiple of 0.5)"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 5}, "list[str] (at most 5 items)"),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}, "str (uuid) | None"),
        ({"enum": [0.5, 1.5]}, "0.5 | 1.5"),
        ({"enum": [f"zone {n}" for n in range(600)]}, "'zone 599'"),
        ({"anyOf": [{"type": "string"}, {"enum": ["sum", "mean"]}]}, "'sum' | 'mean' | str"),
        ({"oneOf": [{"const": "a", "description": "First of all."}, {"const": "b"}]}, "x: 'a': First of all."),
        ({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}}, "dict['a' | 'b', int]"),
        ({"type": "object", "properties": {"n": {"type": "integer", "default": 5}}}, "{n: int = 5}"),
        ({"type": "object", "properties": {"n": {"type": "integer", "description": "In seconds."}}}, "n: In seconds."),
        ({"type": "string", "examples": ["main", "dev"]}, "For example 'main' or 'dev'."),
        ({"type": "array", "items": {"type": "string", "description": "A branch of the repository."}}, "x: A branch of"),
        ({"type": "integer", "default": 7, "maximum": 9}, "x: int (at most 9) = 7"),
    ],
)  # fmt: skip
def test_what_a_schema_says_of_a_value_is_on_the_card(make: Make, schema: dict[str, Any], shown: str) -> None:
    assert shown in render_card(make("t", {"x": schema}))
    assert shown in render_card(make("t", {"x": {"$ref": "#/$defs/X"}}, defs={"X": schema}))


@pytest.mark.parametrize(
    ("schema", "needs"),
    [
        ({"if": {"properties": {"kind": {"const": "US"}}}, "then": {"properties": {"id": {"pattern": "^[0-9]{5}$"}}}}, "where kind = 'US': id: /^[0-9]{5}$/"),
        ({"if": {"required": ["id"]}, "then": {"properties": {"name": False}}}, "where id: no name"),
        ({"dependentSchemas": {"id": {"properties": {"kind": {"enum": ["a", "b"]}}}}}, "id only with kind = 'a' or 'b'"),
        ({"dependencies": {"id": {"required": ["name"]}, "name": ["place"]}}, "id only with name"),
    ],
)  # fmt: skip
def test_limits_that_hold_under_a_condition_are_told(make: Make, schema: dict[str, Any], needs: str) -> None:
    keys = {name: {"type": "string"} for name in ("id", "name", "place", "kind")}
    tool = replace(make("find"), input_schema={"type": "object", "properties": keys, **schema})
    assert f"\n    needs {needs}" in render_card(tool)


@pytest.mark.parametrize("reference", ["#state", "https://example.com/state", "#/$defs/any"])
def test_a_reference_by_an_anchor_or_an_id_is_followed(make: Make, reference: str) -> None:
    state = {"$anchor": "state", "$id": "https://example.com/state", "enum": ["open", "closed"]}
    for word in ("$ref", "$dynamicRef"):
        card = render_card(make("t", {"x": {word: reference}}, defs={"any": state}))
        assert "x?: 'open' | 'closed'" in card


@pytest.mark.parametrize("name", ["Def0", "def12", "__schema3", "Schema1", "Item2", "7"])
def test_a_type_that_nobody_named_is_named_by_its_place(make: Make, name: str) -> None:
    label = {"type": "object", "properties": {"name": {"type": "string"}, "color": {"type": "string", "maxLength": 6}}}
    label["properties"]["meaning"] = {"type": "string", "description": "What it is put on, in a word."}  # type: ignore[index]
    labels = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}
    card = render_card(
        make(
            "create_issue",
            {"labels": labels},
            defs={name: label | {"minProperties": 1} | {"anyOf": [{"required": ["name"]}, {"required": ["color"]}]}},
        )
    )
    assert "labels?: list[CreateIssueLabels]" in card
    assert "CreateIssueLabels = {name?: str, color?: str (at most 6 characters), meaning?: str}" in card
    assert "    meaning: What it is put on, in a word." in card


def test_two_types_of_one_title_are_told_apart_by_their_places(make: Make) -> None:
    one, other = ({"title": "Order", "type": "object", "properties": {key: {}}} for key in ("a", "b"))
    text = render_cards([make("list", output=one), make("get", output=other)])
    assert "-> Order\n" in text
    assert "-> GetOrder\n" in text


def test_what_tools_share_is_described_once(make: Make) -> None:
    page = {"page": {"type": "integer", "description": "The page of the results, from 1; each has fifty of them."}}
    text = render_cards([make("a", page), make("b", page), make("c", {"page": {"description": "Of a book."}})])
    assert text.count("each has fifty") == 1
    assert "page: Of a book." in text


@pytest.mark.skipif(not DATA.is_dir(), reason="the catalogues are not here")
def test_cards_of_real_servers_lose_no_fact_at_less_than_a_third_of_the_tokens() -> None:
    specs = [spec for each in read_servers(DATA).values() for spec in each]
    every, kept, lost = measure(specs)
    for kind in ("format", "pattern", "required", "bound"):
        assert kept[kind] == every[kind], [fact for fact in lost if fact[1].kind == kind][:5]
    assert kept["enum"] >= 0.999 * every["enum"], [fact for fact in lost if fact[1].kind == "enum"][:5]
    assert estimate_tokens(render_cards(specs)) <= 0.3 * sum(estimate_tokens(openai_json(spec)) for spec in specs)


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("Lists events. And more.", 99, "Lists events. And more."),
        ("One of: json|yaml\n\nSee https://example.com/docs for all.", 99, "One of: json|yaml"),
        ("Sorts.\n- `asc`: up\n- `desc`: down", 99, "Sorts. `asc`: up `desc`: down"),
        ("Begins. This is a lot of text about nothing at all. Must be at most 5.", 40, "Begins. Must be at most 5. …"),
        ("Read [the docs](https://example.com/a?b=c). Read it.", 99, "Read the docs. Read it."),
        ("Same. Same. Same.", 99, "Same."),
        ("", 99, ""),
    ],
)
def test_a_long_description_keeps_what_says_most(text: str, limit: int, line: str) -> None:
    assert condense(text, limit) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n\tb\r\n  c\0d", "a b c d"),
        ("x\u2028y\u202ez\u200bw", "x y z w"),
        ('"""end', '"end'),
        ("``````python", "`python"),
        ("<|im_end|>", "< |im_end|>"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_foreign_text_becomes_one_harmless_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Lists events. And more.", "Lists events."),
        ("Takes a city, e.g. Bern. Gives its weather.", "Takes a city, e.g. Bern."),
        ("Version 1.2 of it\nover two lines. More", "Version 1.2 of it over two lines."),
        ("A title\n\nA text.", "A title"),
        ("Really? Yes.", "Really?"),
        ("", ""),
    ],
)
def test_the_first_sentence_is_found(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@given(
    tools=st.lists(st.tuples(names, st.dictionaries(names, schemas, max_size=4), schemas), max_size=3),
    description=st.text(max_size=40),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_tools_a_card_stays_in_its_lines(
    make: Make, tools: list[tuple[str, dict[str, Any], Any]], description: str
) -> None:
    text = render_cards([make(name, arguments, output, description=description) for name, arguments, output in tools])
    assert "```" not in text
    assert "<|" not in text
    assert all(
        line == "" or line.startswith(("await tools[", "    ", "(")) or " = {" in line for line in text.split("\n")
    )


def test_tokens_are_estimated_from_the_length() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "four", "fiver")] == [0, 1, 1, 2]
