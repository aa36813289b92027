"""Code mode as a tool of OpenAI's API, with the official client against a service on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import ResponseFunctionToolCall

from codemode_graph import CodeMode, ToolPolicy, codemode
from tests.integrations.agents import Shop
from tests.support import scripted
from tests.wire.payloads import Reply
from tests.wire.server import Service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
async def client(service: Service) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=service.key, base_url=service.url, max_retries=0) as client:
        yield client


def desk(shop: Shop, *programs: str, **options: Any) -> CodeMode:
    return codemode(tools=shop.tools, code_model=scripted(*programs), **options)


async def responses(client: AsyncOpenAI, cm: CodeMode, task: str) -> str:
    """The loop of an agent on the Responses API."""
    conversation: list[Any] = [{"role": "user", "content": task}]
    while True:
        response = await client.responses.create(model="gpt-5.2", input=conversation, tools=[cm.as_openai_tool()])  # type: ignore[list-item]
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return response.output_text
        conversation += [item.model_dump(exclude_none=True) for item in response.output]
        conversation += await asyncio.gather(*map(cm.answer_openai, calls))


async def chat(client: AsyncOpenAI, cm: CodeMode, task: str) -> str:
    """The loop of an agent on Chat Completions."""
    conversation: list[Any] = [{"role": "user", "content": task}]
    while True:
        completion = await client.chat.completions.create(
            model="gpt-5.2",
            messages=conversation,
            tools=[cm.as_openai_function()],  # type: ignore[list-item]
        )
        message = completion.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        conversation.append(message.model_dump(exclude_none=True))
        conversation += await asyncio.gather(*map(cm.answer_openai, message.tool_calls))


def told(service: Service) -> list[str]:
    """Return what the model was told by the tools, in the last request."""
    request = service.requests[-1]
    if request.api == "chat":
        return [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
    return [item["output"] for item in request.body["input"] if item.get("type") == "function_call_output"]


def call(**arguments: Any) -> tuple[str, str]:
    return "codemode", json.dumps(arguments)


@pytest.mark.parametrize("loop", [responses, chat])
async def test_a_model_has_tasks_done_at_the_same_time_and_then_answers(
    service: Service, client: AsyncOpenAI, loop: Any
) -> None:
    shop = Shop()
    service.script(Reply(calls=(call(task="pay ann"), call(task="pay ann too"))), Reply(text="Both are paid."))
    async with desk(shop, "await tools.pay('ann', await tools.owed('ann'))") as cm:
        assert await loop(client, cm, "Pay Ann twice.") == "Both are paid."
    assert told(service) == ['"paid ann 5"', '"paid ann 5"']
    assert shop.paid == [("ann", 5), ("ann", 5)]


@pytest.mark.parametrize("loop", [responses, chat])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"task": "pay', "no JSON"),
        ("{}", "task: Field required"),
        ('{"task": ""}', "task: String should have at least 1 character"),
        ('["pay"]', "wrong"),
        ("null", "wrong"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model_and_nothing_runs(
    service: Service, client: AsyncOpenAI, loop: Any, arguments: str, text: str
) -> None:
    shop = Shop()
    service.script(Reply(calls=(("codemode", arguments),)), "Sorry.")
    async with desk(shop, "await tools.pay('ann', 5)") as cm:
        assert await loop(client, cm, "Pay.") == "Sorry."
    (answer,) = told(service)
    assert text in answer
    assert answer.endswith("Nothing was done.")
    assert shop.paid == []


@pytest.mark.parametrize("loop", [responses, chat])
async def test_a_failure_is_told_with_what_took_effect(service: Service, client: AsyncOpenAI, loop: Any) -> None:
    service.script(Reply(calls=(call(task="pay"),)), "It failed.")
    async with desk(Shop(), "await tools.pay('ann', 5)\nawait tools.owed('eve')", max_retries=1) as cm:
        assert await loop(client, cm, "Pay.") == "It failed."
    (answer,) = told(service)
    assert answer.startswith("It failed: line 2: KeyError: eve\nThese calls took effect and stand: pay(")


async def test_calls_that_need_a_person_are_answered_by_approve_or_told_to_wait(
    service: Service, client: AsyncOpenAI
) -> None:
    gated = {"pay": ToolPolicy(approval=True)}
    for approve, text in ((None, "waits for a person"), (lambda _: {"decisions": [{"type": "approve"}]}, "paid ann 5")):
        service.script(Reply(calls=(call(task="pay"),)), "Done.")
        async with desk(Shop(), "await tools.pay('ann', 5)", policies=gated, approve=approve) as cm:
            await responses(client, cm, "Pay.")
        assert text in told(service)[0]


async def test_the_shape_of_one_api_is_refused_by_the_other(service: Service, client: AsyncOpenAI) -> None:
    service.script("never")
    async with desk(Shop(), "1") as cm:
        with pytest.raises(BadRequestError, match=r"tools\[0\].name"):
            await client.responses.create(model="gpt-5.2", input="x", tools=[cm.as_openai_function()])  # type: ignore[list-item]
        with pytest.raises(BadRequestError, match=r"tools\[0\].function"):
            await client.chat.completions.create(
                model="gpt-5.2",
                messages=[{"role": "user", "content": "x"}],
                tools=[cm.as_openai_tool()],  # type: ignore[list-item]
            )


async def test_dicts_are_answered_as_objects_are_and_what_is_no_call_is_refused() -> None:
    async with desk(Shop(), "1 + 1") as cm:
        made = ResponseFunctionToolCall(
            arguments='{"task": "add"}', call_id="c1", name="codemode", type="function_call"
        )
        told = {"type": "function_call_output", "call_id": "c1", "output": "2"}
        assert await cm.answer_openai(made) == told
        assert await cm.answer_openai(made.model_dump()) == told
        function = {"name": "codemode", "arguments": '{"task": "add"}'}
        told = {"role": "tool", "tool_call_id": "c2", "content": "2"}
        assert await cm.answer_openai({"id": "c2", "type": "function", "function": function}) == told
        cm.as_openai_function(name="books")
        for foreign in (function, {"name": "pay", "arguments": "{}"}):
            with pytest.raises(ValueError, match=r"is a function of somebody else: this answers calls of 'books'"):
                await cm.answer_openai({"id": "c3", "type": "function", "function": foreign})
        for other in ({"type": "message"}, "text", None):
            with pytest.raises(ValueError, match="is no function call"):
                await cm.answer_openai(other)
