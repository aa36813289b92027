"""The options that everything takes which runs programs."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from codemode_sandboxes import Limits, MockSandbox
from langchain.agents import create_agent as langchain_agent

from codemode_graph import (
    CodeModeMiddleware,
    ConfigurationError,
    Context,
    Prices,
    ToolPolicy,
    codemode,
    create_agent,
    create_codemode,
    create_codemode_tool,
    tool,
)
from codemode_graph.api import CodeMode
from codemode_graph.calls.journal import MemoryJournal
from codemode_graph.options import CodeModeOptions, RunOptions, read_context, read_options
from codemode_graph.tools.spec import AfterCalls, Review, Undo
from tests.integrations.agents import agent_model


def add(one: int, other: int) -> int:
    return one + other


TAKERS: dict[str, Callable[..., Any]] = {
    "codemode": lambda **options: codemode(tools=[add], **options),
    "create_codemode": lambda **options: create_codemode(model=None, tools=[add], **options),
    "create_codemode_tool": lambda **options: create_codemode_tool([add], **options),
    "create_agent": lambda **options: create_agent([add], agent_model(), **options),
    "CodeModeMiddleware": lambda **options: CodeModeMiddleware(**options),
}
VALUES = RunOptions(
    sandbox="monty",
    auto=["monty"],
    fallback=["restricted"],
    policies={},
    limits=None,
    returns=list[int],
    timeout=1,
    max_attempts=1,
    max_retries=1,
    max_tokens=1,
    max_model_calls=1,
    max_seconds=1,
    max_tool_calls=1,
    max_cost=1,
    budget=Context(),
    prices=Prices(input=1, output=1),
    inline_bytes=1,
    model_timeout=1,
    card_tokens=None,
    embeddings=None,
    instructions="Be short.",
    programs=None,
    journal=MemoryJournal(),
    structured=False,
    backend="monty",
)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("name", RunOptions.__annotations__)
def test_each_is_taken_everywhere(taker: str, name: str) -> None:
    needs = {"prices": VALUES["prices"]} if name == "max_cost" else {}
    TAKERS[taker](**{name: VALUES[name]}, **needs)  # type: ignore[literal-required]


@pytest.mark.parametrize("taker", TAKERS)
def test_another_name_is_answered_with_the_right_one(taker: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_retrys'; did you mean 'max_retries'"):
        TAKERS[taker](max_retrys=1)
    with pytest.raises(TypeError, match=r"'zzz'; there are .*timeout"):
        TAKERS[taker](zzz=1)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_attempts": 0}, "max_attempts: Input should be greater than or equal to 1"),
        ({"max_cost": 1}, "max_cost needs prices"),
        ({"timeout": -1}, "timeout has to be greater than 0, not -1"),
        ({"timeout": "5"}, "timeout has to be a valid number, not '5'"),
        ({"limits": Limits(seconds="3")}, r"Limits\(seconds=...\) has to be a valid number, not '3'"),  # type: ignore[arg-type]
        ({"prices": Prices(input="1", output=2)}, r"Prices\(input=...\) has to be"),  # type: ignore[arg-type]
        ({"limits": {"seconds": 3}}, "limits has to be an instance of Limits, not {'seconds': 3}"),
        (
            {"policies": {"add": {"approval": True}}},
            "policies has to be an instance of ToolPolicy, not {'add': {'approval': True}}",
        ),
        ({"policies": [ToolPolicy()]}, "policies has to be a valid dictionary"),
        ({"journal": "runs.sqlite"}, "journal has to be an instance of Journal, not 'runs.sqlite'"),
        ({"prices": (1, 2)}, "prices has to be an instance of Prices"),
        ({"budget": {"max_tokens": 7}}, "budget has to be an instance of Context"),
        ({"embeddings": "openai"}, "embeddings has to be an instance of Embeddings"),
        ({"programs": 5}, "programs has to be a valid string or an instance of PathLike, not 5"),
        ({"card_tokens": "many"}, "card_tokens has to be a valid integer"),
        ({"inline_bytes": "x"}, "inline_bytes has to be"),
        ({"sandbox": "monty", "backend": "monty"}, "backend is another name of sandbox"),
        ({"sandbox": "monty", "auto": ["monty"]}, "leave the other sandbox out"),
    ],
)
def test_a_contradiction_is_said_at_once(taker: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        TAKERS[taker](**options)


@pytest.mark.parametrize(
    ("taker", "name", "hint"),
    [
        ("create_codemode", "checkpointer", "'checkpointer'; the .compile(...) of create_codemode's graph takes it"),
        ("codemode", "store", "'store'; the .compile(...) of create_codemode's graph takes it"),
        ("create_codemode", "approve", "'approve'; codemode(...) takes it"),
        ("CodeModeMiddleware", "durable", "'durable'; codemode(...) takes it"),
    ],
)
def test_an_option_of_another_place_is_answered_with_the_place(taker: str, name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(hint)):
        TAKERS[taker](**{name: None})


def test_what_cannot_answer_for_a_person_is_refused_before_it_is_asked() -> None:
    with pytest.raises(ConfigurationError, match="approve has to be callable, not 'approve'"):
        codemode(tools=[add], approve="approve")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (lambda cm: cm.run_code("1", approve="yes"), "approve has to be callable, not 'yes'"),
        (lambda cm: cm.resume("one", approve="yes"), "approve has to be callable"),
        (lambda cm: cm.run_code("1", metadata="letters"), "metadata has to be a valid dictionary, not 'letters'"),
        (lambda cm: cm.run_code("1", metadata={"on": datetime.now(UTC)}), "metadata has to be"),
        (lambda cm: cm.prune(older_than=30), "older_than has to be a valid timedelta, not 30"),
    ],
)
async def test_an_argument_of_another_type_is_refused_before_anything_runs(
    run: Callable[[CodeMode], Any], problem: str
) -> None:
    async with codemode(tools=[add]) as cm:
        await cm.run_code("1", run_id="one")
        with pytest.raises(ConfigurationError, match=problem):
            await run(cm)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ToolPolicy(effect="destroys"), r"ToolPolicy\(effect=...\) has to be 'read', .* or 'destructive'"),  # type: ignore[arg-type]
        (lambda: tool(effect="delete"), r"tool\(effect=...\) has to be 'read', .*, not 'delete'"),  # type: ignore[arg-type]
        (lambda: tool(timeout=0), r"tool\(timeout=...\) has to be greater than 0"),
        (lambda: ToolPolicy(approval="no"), r"approval=...\) has to be a valid boolean or .* callable, not 'no'"),  # type: ignore[arg-type]
        (lambda: ToolPolicy(concurrency=0), "concurrency=...\\) has to be greater than or equal to 1"),
        (lambda: ToolPolicy(retries=-1), "retries"),
        (lambda: ToolPolicy(redact="iban"), "redact"),  # type: ignore[arg-type]
        (lambda: ToolPolicy(unknown_on=TimeoutError), "unknown_on"),  # type: ignore[arg-type]
        (lambda: Review(decisions=("aprove",)), "decisions"),  # type: ignore[arg-type]
        (lambda: AfterCalls("3"), "calls"),  # type: ignore[arg-type]
        (lambda: Undo(5), "tool"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_means_nothing_is_refused_where_it_is_written(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make()


def test_a_policy_takes_any_collection_of_names_and_errors() -> None:
    policy = ToolPolicy(redact=["iban"], unknown_on=[TimeoutError])  # type: ignore[arg-type]
    assert policy == ToolPolicy(redact=frozenset({"iban"}), unknown_on=(TimeoutError,))


def test_other_names_and_a_budget_are_read_as_the_options_that_they_are() -> None:
    sandbox = MockSandbox([])
    chosen: RunOptions = {"backend": sandbox, "max_retries": 5, "budget": Context(max_tokens=7)}
    assert read_options(chosen) == {"sandbox": sandbox, "max_attempts": 5, "max_tokens": 7}
    assert read_context(read_options(chosen)) == Context(max_attempts=5, max_tokens=7)
    assert read_options({"max_retries": 5, "budget": Context(max_attempts=2)}) == {"max_attempts": 2}


def test_an_agent_takes_what_langchain_takes() -> None:
    assert create_agent([add], agent_model(), name="clerk", debug=False).name == "clerk"
    with pytest.raises(TypeError, match="did you mean 'checkpointer'"):
        create_agent([add], agent_model(), checkpoint=None)  # type: ignore[call-arg]


def test_unknown_options_are_found_before_anything_runs() -> None:
    """mypy checks this file: an ignore that is not needed is an error."""
    with pytest.raises(TypeError):
        codemode(tools=[add], max_atempts=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        create_codemode(model=None, tools=[add], api_key="")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        CodeModeMiddleware(max_retires=1)  # type: ignore[call-arg]


def test_agents_options_are_those_of_langchain() -> None:
    from inspect import signature

    from codemode_graph.integrations.agent import AgentOptions

    listed = AgentOptions.__annotations__.keys() - RunOptions.__annotations__
    assert listed <= signature(langchain_agent).parameters.keys()
    assert not signature(langchain_agent).parameters.keys() & CodeModeOptions.__annotations__.keys() - {"model"}
