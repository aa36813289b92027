"""Asking a model over HTTP, through a real client: by chat completions and by Responses, streamed and in one piece."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from pydantic import SecretStr
from typing_extensions import TypedDict

from codemode_graph.errors import ConfigurationError
from codemode_graph.model.ask import Answer, ask, is_structured, load_model
from codemode_graph.sync import wait_for
from tests.support import scripted
from tests.wire.conftest import Connect
from tests.wire.payloads import Fault, Reply, failure, rate_limited, schema_of, server_error
from tests.wire.server import Service
from tests.wire.ways import WAYS, Way, every_way

MESSAGES: list[BaseMessage] = [SystemMessage("You write programs."), HumanMessage("Mail Ann twice.")]
CODE = "async def main():\n    await tools['send'](to='ann')\n    return await tools['send'](to='ann')"
HALF = CODE[: CODE.index("    return")]
"""Half of the program is a program too: it would send one mail, and look like a success."""


Answered: TypeAlias = Callable[..., Awaitable[Answer]]


class State(TypedDict):
    answers: list[Answer]


async def asked(model: BaseChatModel, way: Way) -> Answer:
    """Ask as a node does: in a graph, whose `messages` somebody watches where the way is streamed."""
    answers: list[Answer] = []

    async def node(state: State, config: RunnableConfig) -> None:
        answers.append(await ask(model, MESSAGES, structured=way.structured, config=config))

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
    async for _ in graph.astream({"answers": []}, stream_mode="messages" if way.streamed else "values"):
        pass
    return answers[0]


@pytest.fixture(scope="module")
def answered(service: Service, connect: Connect) -> Answered:
    """Asks for a program, and has this answered."""
    models: dict[str, BaseChatModel] = {}

    async def answered(way: Way, *replies: Reply | Fault | str, **options: Any) -> Answer:
        service.script(*replies)
        options["use_responses_api"] = way.responses
        if str(options) not in models:
            models[str(options)] = load_model(connect(**options))
        answer = await asked(models[str(options)], way)
        assert all(bool(request.body.get("stream")) == way.streamed for request in service.requests)
        return answer

    return answered


def tokens(usage: Mapping[str, int]) -> tuple[int, int]:
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    return usage["input_tokens"], usage["output_tokens"]


ENDLESS = json.dumps({"thoughts": "I mail her.", "code": HALF}).removesuffix('"}')
FENCED = f"I mail her.\n\n```python\n{CODE}\n```"
ANSWERS = {
    "a program as asked for": (Reply(code=CODE, thoughts="I mail her."), CODE, "I mail her."),
    "a fenced block": (Reply(text=FENCED), CODE, "I mail her."),
    "words alone": (Reply(text="I am sorry, Dave."), "", "I am sorry, Dave."),
    "JSON without a program": (Reply(text='{"thoughts": "No.", "code": ""}'), "", '{"thoughts": "No.", "code": ""}'),
    "JSON without an end": (Reply(text=ENDLESS), "", ENDLESS),
    "broken JSON": (Reply(text='{"thoughts": "No.", "cod'), "", '{"thoughts": "No.", "cod'),
    "nothing": (Reply(text=""), "", ""),
}


@every_way
@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_is_read_and_its_tokens_are_counted(
    service: Service, answered: Answered, way: Way, case: str
) -> None:
    reply, program, thoughts = ANSWERS[case]
    answer = await answered(way, reply)
    assert (answer.program.strip(), answer.thoughts, answer.error) == (program, thoughts, None)
    assert tokens(answer.usage) == service.usage
    assert min(service.usage) > 0
    assert answer.model == "gpt-5.2"


@every_way
async def test_the_schema_is_sent_where_structured_output_is_asked_for(
    service: Service, answered: Answered, way: Way
) -> None:
    await answered(way, Reply(code=CODE))
    [request] = service.requests
    schema = schema_of(request.api, request.body)
    assert (schema is not None) == way.structured
    if schema is not None:
        assert schema["name"] == "program"
        assert schema["schema"]["required"] == ["thoughts", "code"]


@every_way
async def test_a_refusal_is_what_the_model_thought(service: Service, answered: Answered, way: Way) -> None:
    answer = await answered(way, Reply(refusal="I can't help with that."))
    assert (answer.program, answer.error) == ("", None)
    assert tokens(answer.usage) == service.usage
    dropped = way.streamed and not way.responses and not way.structured  # by langchain-openai: the message is empty
    assert answer.thoughts == ("" if dropped else "I can't help with that.")


@every_way
async def test_half_a_program_is_no_program(service: Service, answered: Answered, way: Way) -> None:
    answer = await answered(way, Reply(text=ENDLESS if way.structured else f"```python\n{HALF}", finish="length"))
    assert answer.program == ""
    assert answer.error is None
    assert answer.finding == {
        "rule": "cut-off",
        "message": "the model's answer was cut off at its token limit: raise the model's max_tokens",
        "line": None,
    }
    assert tokens(answer.usage) == service.usage


@every_way
async def test_behind_a_fence_the_token_limit_may_have_cut_off_another_program(
    service: Service, answered: Answered, way: Way
) -> None:
    answer = await answered(way, Reply(code=CODE, finish="length"))
    # Behind whole JSON nothing follows. By chat completions, the SDK raises.
    whole = way.structured and way.responses
    assert answer.program.strip() == (CODE if whole else "")
    assert answer.error is None
    assert (answer.finding is None) == whole
    assert tokens(answer.usage) == service.usage


@every_way
async def test_an_answer_stopped_by_the_content_filter_is_an_error(
    service: Service, answered: Answered, way: Way
) -> None:
    answer = await answered(way, Reply(text="", finish="content_filter"))
    assert (answer.program, answer.error) == ("", "the model's answer was stopped by its content filter")
    assert tokens(answer.usage) == service.usage


@every_way
@pytest.mark.parametrize("breaks", ["cut", "ends", "error"])
async def test_an_answer_that_breaks_off_has_no_program(answered: Answered, way: Way, breaks: Any) -> None:
    answer = await answered(way, Reply(code=CODE + "\n" * 200, breaks=breaks))
    message = {"cut": "Connection error", "ends": "the connection was closed", "error": "The server had an error"}
    assert answer.program == ""
    assert message[breaks if way.streamed else "cut"] in (answer.error or "")
    assert_clear(answer)


FAULTS = {
    "wrong key": (
        failure(401, "Incorrect API key provided: sk-proj-***cdef.", code="invalid_api_key"),
        "Incorrect API key",
    ),
    "no such model": (
        failure(404, "The model `gpt-9` does not exist.", code="model_not_found"),
        "`gpt-9` does not exist",
    ),
    "too long": (failure(400, "Your input exceeds the context window of this model."), "context window"),
    "rate limit": (rate_limited(20), "Rate limit reached"),
    "server error": (server_error(), "The server had an error"),
    "a page": (Fault(status=200, body="<html>\n<p>hi</p>\n</html>", content_type="text/html"), "check its URL"),
    "a page with an error": (Fault(status=502, body="<html>\nBad Gateway\n</html>", content_type="text/html"), "502"),
    "malformed JSON": (Fault(status=200, body='{"id": "chatcmpl-1", "choices": [{"ind'), "check its URL"),
    "other JSON": (Fault(status=200, body='{"detail": "ok"}'), "check its URL"),
}


@every_way
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_reported_in_one_line(service: Service, answered: Answered, way: Way, fault: str) -> None:
    reply, message = FAULTS[fault]
    answer = await answered(way, reply)
    assert message in (answer.error or "")
    assert (answer.program, tokens(answer.usage), len(service.requests)) == ("", (0, 0), 1)
    assert_clear(answer)
    assert service.key not in (answer.error or "")


@pytest.mark.parametrize("way", WAYS[:5:4], ids=str)
async def test_the_service_turns_wrong_keys_and_models_away(answered: Answered, way: Way) -> None:
    answer = await answered(way, "hi", model="gpt-9")
    assert "The model `gpt-9` does not exist or you do not have access to it." in (answer.error or "")
    answer = await answered(way, "hi", api_key="sk-proj-mistyped0123456789")
    assert "Incorrect API key provided: sk-proj-" in (answer.error or "")
    assert "mistyped" not in (answer.error or "")


async def test_a_key_that_the_service_repeats_is_masked(answered: Answered) -> None:
    answer = await answered(WAYS[0], "hi", api_key="sesame-1234")
    assert "Incorrect API key provided: [redacted]." in (answer.error or "")
    assert "sesame" not in (answer.error or "")


async def test_a_service_that_is_not_there_is_named(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        answer = await ask(connect(base_url=url), MESSAGES, structured=False)
    assert answer.error is not None
    assert answer.error.endswith(f"Connection error. (POST {url}/chat/completions)")
    assert_clear(answer)


@pytest.mark.parametrize("way", WAYS[:5:4], ids=str)
async def test_passing_trouble_is_waited_out(service: Service, answered: Answered, way: Way) -> None:
    replies = (rate_limited(0.05), Reply(code=CODE, breaks=None))
    answer = await answered(way, *replies, max_retries=None)
    assert (answer.program.strip(), answer.error) == (CODE, None)
    assert len(service.requests) == 2
    assert tokens(answer.usage) == service.usage


async def test_trouble_that_lasts_is_an_error(service: Service, answered: Answered) -> None:
    answer = await answered(WAYS[0], server_error(), max_retries=None)
    assert "The server had an error" in (answer.error or "")
    assert len(service.requests) == 3


@every_way
async def test_a_slow_answer_runs_into_the_clients_timeout(service: Service, answered: Answered, way: Way) -> None:
    answer = await answered(way, Reply(text="hi", delay=60), timeout=0.3)
    assert "timed out" in (answer.error or "")
    assert await asyncio.to_thread(service.requests[0].dropped.wait, 30)


@every_way
async def test_cancellation_hangs_up(service: Service, connect: Connect, way: Way) -> None:
    service.script(Reply(code=CODE, delay=60))
    asking = asyncio.ensure_future(asked(load_model(connect(use_responses_api=way.responses)), way))
    assert await asyncio.to_thread(service.asked.wait, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await asyncio.to_thread(service.requests[0].dropped.wait, 30)


async def test_usage_is_asked_for_though_the_server_is_ones_own(service: Service, connect: Connect) -> None:
    service.script(Reply(code=CODE))
    plain = await ask(connect(streaming=True), MESSAGES, structured=False)
    assert (tokens(plain.usage), service.usage) == ((0, 0), (0, 0))
    answer = await ask(load_model(connect(streaming=True)), MESSAGES, structured=False)
    assert tokens(answer.usage) == service.usage != (0, 0)
    unwanted = await ask(load_model(connect(streaming=True, stream_usage=False)), MESSAGES, structured=False)
    assert tokens(unwanted.usage) == (0, 0)


@pytest.mark.parametrize("responses", [False, True])
async def test_details_of_usage_reach_the_client(service: Service, connect: Connect, responses: bool) -> None:
    service.script("hi")
    reply = await connect(use_responses_api=responses).ainvoke(MESSAGES)
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] > 0
    assert reply.usage_metadata["output_token_details"]["reasoning"] == 8


async def test_a_model_may_be_named_by_a_string(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", service.url)
    monkeypatch.setenv("OPENAI_API_KEY", service.key)
    for model in (load_model("openai:gpt-5.2"), load_model("gpt-4.1", api_key=service.key)):
        assert isinstance(model, ChatOpenAI)
        assert is_structured(model)
        service.script(Reply(code=CODE))
        answer = await asked(model, WAYS[3])
        assert (answer.program.strip(), tokens(answer.usage)) == (CODE, service.usage)


@pytest.mark.parametrize("structured", [False, True])
async def test_a_model_may_be_used_in_several_event_loops(service: Service, connect: Connect, structured: bool) -> None:
    service.script(Reply(code=CODE))
    model = load_model(connect())

    async def answers() -> list[str | None]:
        several = (ask(model, MESSAGES, structured=structured) for _ in range(3))
        return [answer.error for answer in await asyncio.gather(*several)]

    loops = [asyncio.to_thread(asyncio.run, answers()) for _ in range(2)]
    assert await asyncio.gather(answers(), *loops) == [[None] * 3] * 3
    assert await asyncio.to_thread(wait_for, answers()) == await asyncio.to_thread(wait_for, answers()) == [None] * 3
    assert await answers() == [None] * 3


def test_a_model_without_a_profile_is_asked_for_text() -> None:
    assert not is_structured(
        ChatOpenAI(model="qwen2.5-coder-1.5b", api_key=SecretStr("x"), base_url="http://127.0.0.1:9/v1")
    )
    assert not is_structured(scripted("hi"))


UNUSABLE: list[tuple[Any, str]] = [
    ("openai:gpt-5.2", "set the environment variable OPENAI_API_KEY"),
    ("gpt-5.2", "set the environment variable OPENAI_API_KEY"),
    ("nosuch:model", "no provider is named 'nosuch'; write it as 'provider:model', such as 'openai:gpt-5.2'"),
    ("some-model", "its provider is missing: write it as 'provider:model', such as 'openai:gpt-5.2'"),
    ("mistralai:large", "langchain-mistralai"),
    ("", "a model is a chat model or a string such as 'openai:gpt-5.2'"),
    (None, "a model is a chat model or a string such as 'openai:gpt-5.2'"),
    (scripted("hi").bind(stop=["x"]), "Binding"),
]


@pytest.mark.parametrize(("model", "message"), UNUSABLE, ids=[str(model)[:20] for model, _ in UNUSABLE])
def test_a_model_that_cannot_be_used_says_what_to_do(monkeypatch: pytest.MonkeyPatch, model: Any, message: str) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        load_model(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def assert_clear(answer: Answer) -> None:
    assert answer.error
    assert "\n" not in answer.error
    assert "Traceback" not in answer.error
    assert len(answer.error) < 450
