"""A page tells what happened, and is nothing but text, whatever the text is."""

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from jinja2.exceptions import UndefinedError
from markupsafe import Markup

from codemode_graph import Trace
from codemode_graph.trace.console import visible
from codemode_graph.trace.html import environment, render
from tests.trace.parsed import Page
from tests.trace.runs import PAYLOADS, eventful, hostile

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "article", "header", "section", "div", "span", "p", "b", "i", "small",
    "h1", "h2", "h3", "h4", "dl", "dt", "dd", "ul", "li", "blockquote", "pre", "code", "details", "summary", "label", "input",
    "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "style", "type", "checked", "id", "href"}


@pytest_asyncio.fixture(scope="module")
async def runs() -> AsyncIterator[tuple[Trace, Trace]]:
    yield await eventful()


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_text_becomes_markup(payload: str) -> None:
    trace = hostile(payload)
    for source in (trace.html(), trace._repr_html_()):
        source.encode()  # can be written as UTF-8
        page = Page(source)
        assert page.elements <= ELEMENTS
        assert page.attributes <= ATTRIBUTES
        assert all(re.fullmatch(r"--at:[\d.]+%;--long:[\d.]+%", style) for style in page.styles)
        assert all(re.fullmatch(r"codemode-[0-9a-f]{8}-\d+-\d+", name) for name in page.ids)
        assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
        assert all(link.startswith("#") for link in page.links)
        shown = visible(payload).encode("utf-8", "backslashreplace").decode()
        # Task, thoughts, fixes, findings, errors, tracebacks, names, arguments, values, stdout, model, sandbox, question.
        assert page.text.count(shown) > 25
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", source)


def test_the_page_may_load_and_run_nothing() -> None:
    source = hostile("x").html()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', source)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "script-src" not in policy
    assert source.index("Content-Security-Policy") < source.index("<style>")
    assert not re.search(r"https?:|//\w|@import|url\(|@font-face", source)


TEMPLATES = {path.name: path.read_text() for path in files("codemode_graph.trace").joinpath("templates").iterdir()}


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_text_leaves_an_attribute(payload: str) -> None:
    page = Page(environment().from_string('<p style="{{ payload }}"></p>').render(payload=payload))
    assert page.attributes == {"style"}
    assert page.styles == [visible(payload).encode("utf-8", "backslashreplace").decode()]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_have_no_attribute_that_could_do_something(name: str) -> None:
    markup = re.sub(r"{#.*?#}|{%.*?%}", "", TEMPLATES[name], flags=re.DOTALL)
    for tag, text in re.findall(r"<(\w+)([^<>]*)>", markup):
        assert tag in ELEMENTS
        # Values stand between quotes, where no text can end the attribute.
        assert set(re.sub(r'"[^"]*"', "", text).replace("=", "").split()) <= ATTRIBUTES
        assert set(re.findall(r'([\w-]+)="[^"]*{{', text)) <= {"class", "style", "id", "href"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_can_turn_escaping_off(name: str) -> None:
    assert not re.search(
        r"\bsafe\b|autoescape|\bmacro\b|\bcall\b\s*\(",
        " ".join(re.findall(r"{[{%].*?[%}]}", TEMPLATES[name], re.DOTALL)),
    )


def test_a_tool_that_returns_markup_is_shown_as_text() -> None:
    payload = Markup(PAYLOADS[0])
    for source in (hostile(payload).html(), hostile(payload)._repr_html_()):
        assert "<script" not in source
        assert html.escape(PAYLOADS[0], quote=False).replace("'", "&#39;") in source


def test_a_template_that_names_what_there_is_not_fails() -> None:
    with pytest.raises(UndefinedError):
        render("value.html")


def test_lines_of_code_keep_their_indentation_through_nbconvert(runs: tuple[Trace, Trace]) -> None:
    # It reads pages with BeautifulSoup, which shortens space between elements to one, but for `pre`.
    page = Page(runs[1].html())
    assert "code" not in page.elements
    assert "<pre>    <span" in runs[1].html()


def test_findings_and_errors_stand_below_their_line(runs: tuple[Trace, Trace]) -> None:
    source = runs[1].html()
    after = re.findall(
        r'<div class="line \w+ wrong"><span class="number">(\d+)</span>.*?</div><p class="wrongly">(.*?)</p>', source
    )
    assert [(line, html.unescape(text).partition(":")[0]) for line, text in after] == [
        ("1", "unknown-tool"),
        ("4", "LookupError"),
    ]


def test_it_tells_what_happened(runs: tuple[Trace, Trace]) -> None:
    text = Page(runs[1].html()).text
    for words in [
        "Pay the customers with open orders.",
        "since attempt 1",
        "stopped by the check",
        "orders: 3",
        "journal, attempt 2",
        "approved",
        "rejected",
        "answered by a person",
        "disputed",
        "Attempt 3",
        "300 in, 60 out",
        "0.0009",
        "monty",
        '["paid ann", "the call of \'pay\' was refused: disputed", "by hand"]',
    ]:
        assert words in text, words


def test_it_says_when_where_and_how_long(runs: tuple[Trace, Trace]) -> None:
    trace = runs[1]
    assert trace.started is not None
    text = Page(trace.html()).text
    moment = datetime.fromtimestamp(trace.started, UTC)
    for words in (
        f"Began{moment:%Y-%m-%d %H:%M:%S} UTC",
        f"Run{trace.run_id}",
        "Total time",
        version("codemode-graph"),
    ):
        assert words in text.replace("\n", ""), words
    assert trace.run_id
    assert trace.seconds is not None
    assert trace.seconds > sum(attempt["seconds"] for attempt in trace.attempts)
    waiting = Page(runs[0].html()).text
    assert "Began" in waiting
    # A run that waits has no end; its last verdict was that on the attempt before.
    assert "waits for a person" in waiting


def test_what_the_model_was_asked_is_there_and_folded(runs: tuple[Trace, Trace]) -> None:
    source = runs[1].html()
    assert [prompt["attempt"] for prompt in runs[1].prompts] == [1, 2, 3]
    # A system prompt is kept where it differs from the one before: what the tools return is told behind it.
    assert ["system" in prompt for prompt in runs[1].prompts] == [True, False, False]
    assert source.count('<details class="fold prompt">') == 3
    text = Page(source).text
    assert "You write one Python program" in text
    assert "there is no customer" in runs[1].prompts[2]["request"]
    for prompt in runs[1].prompts:
        assert prompt["request"].splitlines()[-1] in text


def test_what_took_effect_comes_first(runs: tuple[Trace, Trace]) -> None:
    source = runs[1].html()
    before, _, after = source.partition("What took effect")
    assert "Attempt 1" not in before
    section = after.partition("</section>")[0]
    # One call was approved, one answered by a person, and one refused.
    assert section.count("<li>") == 2
    assert "(name=&#34;bob&#34;)" not in section
    assert "no call changed anything" in Page(reading(["1.1"]).html()).text


@pytest.mark.parametrize("effect", ["read", "write", "destructive"])
def test_reads_and_writes_look_different(effect: str) -> None:
    looks = {"read": "reads", "write": "writes", "destructive": "destroys"}
    assert f'<span class="effect {looks[effect]}">{effect}</span>' in reading(["1.1"], effect=effect).html()


def reading(ids: list[str], *, failed: str = "", effect: str = "read") -> Trace:
    """A run with these calls, of which one may have failed."""
    base = hostile("x")
    calls: Any = [
        {**base.calls[1 if id == failed else 0], "id": id, "arguments": {"n": id}, "effect": effect} for id in ids
    ]
    return Trace(task="Read", verdict="ok", attempts=[{**base.attempts[0], "calls": ids}], calls=calls)


def test_many_calls_are_one_row_and_a_failure_among_them_is_a_jump_away() -> None:
    ids = [f"1.{number}" for number in range(1, 1001)]
    page = reading(ids, failed="1.900").html()
    outside = re.sub(r'<div class="members">.*?</details>\s*</div>', "", page, flags=re.DOTALL)
    assert len(re.findall(r'<details class="call [^"]*"', outside)) == 2
    parsed = Page(page)
    assert "× 249" in parsed.text
    assert len(parsed.links) == 2
    (target,) = {link.removeprefix("#") for link in parsed.links}
    # It does not stand in the group, which may be closed.
    row = outside.partition(f'id="{target}"')[2].partition("</details>")[0]
    assert "1.900" in row
    assert "failed" in row


def test_a_few_calls_are_a_row_each() -> None:
    page = reading([f"1.{number}" for number in range(1, 6)]).html()
    assert page.count('<details class="call reads"') == 5
    assert "×" not in Page(page).text


def test_what_is_masked_stays_masked(runs: tuple[Trace, Trace]) -> None:
    for trace in runs:
        # The programs themselves have the token in them, as the model wrote it.
        page = Page(trace.html()).text.replace("token='s3cret'", "")
        assert "DE89" not in page
        assert "s3cret" not in page
        assert "[redacted]" in page


def test_a_run_that_waits_says_for_whom(runs: tuple[Trace, Trace]) -> None:
    text = Page(runs[0].html()).text
    assert text.count("waits for approval") == 3
    assert "waits for a person" in text
    assert "No answer" not in text


def test_a_page_of_very_much_is_bounded() -> None:
    base = hostile("x")
    call: Any = base.calls[0]
    calls: Any = [{**call, "id": f"1.{n}", "value": ["y" * 5_000] * 4} for n in range(3_000)]
    attempt: Any = {**base.attempts[0], "calls": [each["id"] for each in calls], "stdout": "z\n" * 500_000}
    last: Any = {**attempt, "program": "p\n" * 90_000}
    trace = Trace(
        task="t" * 50_000,
        verdict="ok",
        output=["o" * 10] * 100_000,
        attempts=[*[base.attempts[0]] * 38, attempt, last],
        calls=calls,
    )
    source = trace.html()
    assert len(source) < 12_000_000
    text = Page(source).text
    for words in (
        "10 earlier attempts left out",
        "2,750 more calls",
        "88,500 more lines",
        "more characters",
        "here a sample",
    ):
        assert words in text


def test_a_notebook_gets_a_piece_of_a_page(runs: tuple[Trace, Trace]) -> None:
    piece = runs[1]._repr_html_()
    assert piece.startswith("<style>")
    assert not {"html", "head", "body", "meta", "title"} & Page(piece).elements
    # Its style reaches nothing else on the page.
    style = re.sub(r"/\*.*?\*/\s*", "", piece.partition("</style>")[0].removeprefix("<style>"), flags=re.DOTALL)
    rules = re.findall(r"^([^\s@}][^{]*)\{", style, re.MULTILINE)
    assert rules
    assert all(part.split()[-1].startswith(".codemode-run") for rule in rules for part in rule.split(","))
