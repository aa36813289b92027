from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codemode_graph.tools.cards import estimate_tokens, render_card, render_cards
from codemode_graph.tools.spec import Effect, ToolPolicy, ToolSpec
from codemode_graph.tools.text import first_sentence, one_line
from tests.tools.hostile import names, schemas

Make = Callable[..., ToolSpec]

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
        "    Lists the events of a calendar.\n"
        '    calendar_id: Which calendar, "work" or "home".\n'
        "Event = {id: str, start: str (date-time), attendees?: list[str]}"
    )


def test_a_result_that_is_not_declared_is_described_in_words(make: Make) -> None:
    assert render_card(make("a", effect="read")) == (
        "await tools['a']()\n    returns: not declared; look before you index"
    )
    described = make("a", effect="read", description="Finds.\n\nReturns:\n    A dict with `items` and `total`. Or so.")
    assert render_card(described) == (
        "await tools['a']()\n    Finds.\n    returns, not declared: A dict with `items` and `total`."
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
        ({"enum": [f"v{n}" for n in range(30)]}, "'v23' | ..."),
        ({"$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"}, "-> N\n"),
        ({"properties": {"n": {"$ref": "#"}}}, "-> TResult\n"),
    ],
)
def test_results_are_shown_in_short(make: Make, schema: Any, shown: str) -> None:
    assert shown in render_card(make(output=schema)) + "\n"


def test_a_huge_result_is_cut_off_and_the_card_says_so(make: Make) -> None:
    parts = {f"part{n}": {"title": f"Part{n}", "properties": {f"k{m}": {} for m in range(99)}} for n in range(30)}
    card = render_card(make(output={"type": "object", "properties": parts}))
    assert len(card) < 10_000
    assert "and 39 more" in card
    assert "too large to show" in card


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
