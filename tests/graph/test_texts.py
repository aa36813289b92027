import json

import pytest

from codemode_graph.preview import sample, shape
from codemode_graph.redact import redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("connect failed: postgres://app:hunter22@db/x", "hunter22"),
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("GET /?api_key=abc123xyz&x=1", "abc123xyz"),
        ('{"password": "hunter22"}', "hunter22"),
        ("Incorrect API key provided: sk-proj-AbCdEf0123456789xyz", "AbCdEf0123456789xyz"),
        ("token ghp_0123456789abcdefABCDEF0123", "0123456789abcdefABCDEF0123"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "[redacted]" in redact(text)


def test_the_values_of_secret_environment_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_TOKEN", "correct-horse-battery")
    monkeypatch.setenv("SHOP_NAME", "ordinary-words")
    assert redact("got correct-horse-battery from ordinary-words") == "got [redacted] from ordinary-words"


def test_ordinary_text_is_left_alone_and_long_text_is_cut() -> None:
    assert redact("no such calendar: work") == "no such calendar: work"
    assert redact("x" * 3000).endswith("(1000 more characters)")


def test_shapes_name_real_keys() -> None:
    value = {"items": [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}], "next": None}
    assert shape(value) == "{items: list of 2 {id: int, title: str}, next: None}"
    assert shape([]) == "empty list"
    assert shape([1, "a"]) == "list of 2 int | str"


def test_a_sample_is_bounded_and_says_what_it_leaves_out() -> None:
    small = {"a": [1, 2]}
    assert json.loads(sample(small)) == small
    big = [{"id": i, "text": "x" * 1000} for i in range(1000)]
    text = sample(big, limit=500)
    assert len(text) <= 500
    assert "more items" in text
    assert json.loads(text)
