"""Finding tools by what they do."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from benchmarks.catalogue.__main__ import QUESTIONS, read_tools, recall
from codemode_graph.catalogue.search import ToolIndex
from codemode_graph.tools.spec import Effect, ToolSpec

DATA = Path(__file__).parents[3] / "shared" / "data" / "catalogues"


async def nothing(arguments: dict[str, Any], config: Any) -> Any:
    raise NotImplementedError


def make(
    name: str, description: str = "", source: str = "function", schema: Any = None, effect: Effect = "write"
) -> ToolSpec:
    return ToolSpec(
        name=name, description=description, call=nothing, source=source, input_schema=schema or {}, effect=effect
    )


TOOLS = [
    make("delete_branch_protection", "Delete the protection of a branch."),
    make("delete_branch", "Delete a branch."),
    make("listPullRequests", "List pull requests of a repository."),
    make("send-mail", "Send a message."),
    make("logs", "Print the output of a container.", source="mcp:kubernetes"),
    make(
        "x1",
        "Convert amounts between currencies.",
        schema={"properties": {"to": {"description": "The unit.", "enum": ["EUR", "USD"]}, "odd": True}},
    ),
]


def names(query: str, **options: Any) -> list[str]:
    return [spec.name for spec in ToolIndex(TOOLS).search(query, **options)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("delete a branch", "delete_branch"),
        ("remove the protection of the branch", "delete_branch_protection"),
        ("pull requests", "listPullRequests"),
        ("list PRs of a repo", "listPullRequests"),
        ("write an email", "send-mail"),
        ("kubernetes output", "logs"),
        ("currency conversion: converting amounts", "x1"),
        ("throw away a branch", "delete_branch"),
        ("deletion of branches", "delete_branch"),
        ("currencys", "x1"),
        ("currancies", "x1"),
        ("kube", "logs"),
        ("amount in another unit", "x1"),
    ],
)
def test_the_tool_that_is_meant_comes_first(query: str, first: str) -> None:
    assert names(query)[0] == first


@pytest.mark.parametrize("query", ["", "the of and", "zzz", '"', "name: OR NOT *", "a" * 100_000, "ünïcödé 漢字 \x00"])
def test_any_words_can_be_searched_for(query: str) -> None:
    assert names(query) == []


def test_a_query_without_a_verb_means_what_is_read() -> None:
    tools = [make("update_invoice"), make("get_invoice", effect="read"), make("delete_invoice")]
    index = ToolIndex(tools)
    assert index.search("the invoice")[0].name == "get_invoice"
    assert index.search("change the invoice")[0].name == "update_invoice"


def test_allowed_values_of_arguments_are_found() -> None:
    assert names("USD") == ["x1"]


def test_of_a_query_without_end_a_part_is_looked_up() -> None:
    assert names("delete branch " + " ".join(map(str, range(100_000))))[0] == "delete_branch"


def test_no_more_tools_come_than_are_asked_for() -> None:
    assert names("delete branch", limit=1) == ["delete_branch"]
    assert names("delete branch", limit=0) == []


class Meaning(Embeddings):
    """Puts everything about money in one corner."""

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.1] if any(word in text for word in ("amounts", "dollars")) else [0.1, 1.0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def test_embeddings_find_what_no_word_does() -> None:
    assert names("dollars") == []
    assert ToolIndex(TOOLS, embeddings=Meaning()).search("dollars")[0].name == "x1"


@pytest.mark.skipif(not DATA.is_dir(), reason="the catalogues are not here")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("github", 0.75),
        ("mcp", 0.88),
        ("github, kept back", 0.75),
        ("mcp, kept back", 0.75),
        ("github, as a model asks, kept back", 0.85),
        ("mcp, as a model asks, kept back", 0.95),
    ],
)
def test_questions_in_the_words_of_a_task_find_their_tool(name: str, least: float) -> None:
    index = ToolIndex(read_tools(DATA / f"{name.partition(',')[0]}.jsonl"))
    assert recall(index, json.loads(QUESTIONS.read_text())[name], 8) >= least
