import asyncio
from typing import Any

import pytest
from langchain_core.outputs import ChatResult

from codemode_graph import IdempotencyKey, create_codemode
from tests.prompts.shop import TOOLS
from tests.prompts.snapshots import assert_same
from tests.support import ScriptedModel, scripted

FINDINGS = """
async def main():
    orders = await tools['list-orders'](state='open')
    return [order['client'] for order in await tools['list-orders'](status='open')]
"""

FAILURE = """
async def main():
    sent = []
    for order in await tools['list-orders'](status='open'):
        to = 'ann@example.com' if order['customer'] == 'Ann' else order['customer']
        sent.append(await tools['send_mail'](to=to, text=f"You owe {order['total']}"))
    return sent
"""

EMPTY = """
async def main():
    print('looking')
    found = await tools['stock'](sku='H1')
    return found.get('pieces')
"""

SAME_FAILURE = """
async def main():
    found = await tools['stock'](sku='H1')
    return found['{key}']
"""

LAST = "async def main():\n    return 'done'"

CASES = {
    "findings": [FINDINGS],
    "error-with-effects": [FAILURE],
    "empty": [EMPTY],
    "same-failure": [SAME_FAILURE.format(key="pieces"), SAME_FAILURE.format(key="pieces").replace("found", "stock")],
    "text-for-dict": ["found = await tools['stock'](sku='H1')\n[part['sku'] for part, _ in found.items()]"],
    "unchanged": [FAILURE, FAILURE],
    "no-program": ["```python\n# List the orders, and remind their customers.\n```"],
}
"""Programs that are written one after the other; the message that follows the last of them is kept."""


@pytest.mark.parametrize("name", CASES)
async def test_the_message_after_a_failure_is_the_one_that_was_read(name: str) -> None:
    model = scripted(*CASES[name], LAST)
    graph = create_codemode(model=model, tools=TOOLS).compile()
    state = await graph.ainvoke({"task": "Remind the customers of open orders."})
    assert state["verdict"] == "ok"
    assert len(model.prompts) == len(CASES[name]) + 1
    assert_same(f"repair-{name}", model.prompts[-1])


async def test_a_program_that_came_back_unchanged_is_not_shown_again_but_its_failure_is() -> None:
    model = scripted(FAILURE, f"# Now it works.\n{FAILURE}", LAST)
    await create_codemode(model=model, tools=TOOLS).compile().ainvoke({"task": "Remind them."})
    first, second = model.prompts[1:]
    assert "def main" in first
    assert "def main" not in second
    assert "not a mail address: 'Bob'" in first
    assert "not a mail address: 'Bob'" in second
    assert "ann@example.com" in second.partition("# What has already happened")[2]


async def test_the_message_has_the_last_outcome_of_a_repeated_call() -> None:
    words = ["busy", "sent", "late", "late"]

    async def answer() -> str:
        word = words.pop(0)
        if word == "busy":
            raise RuntimeError(word)
        await asyncio.sleep(5 if word == "late" else 0)
        return word

    async def send(to: str) -> str:
        """Send something."""
        return await answer()

    async def send_once(to: str, key: IdempotencyKey) -> str:
        """Send something once."""
        return await answer()

    program = (
        "try:\n    await tools.send('ann')\nexcept RuntimeError:\n    await tools.send('ann')\n"
        "import asyncio\nfor send in (tools.send, tools.send_once):\n"
        "    try:\n        await asyncio.wait_for(send('bob'), 0.1)\n    except TimeoutError:\n        pass\n"
        "await asyncio.sleep(0.01)\n{}['x']"
    )
    model = scripted(program, LAST)
    graph = create_codemode(model=model, tools=[send, send_once], sandbox="restricted").compile()
    await graph.ainvoke({"task": "Send."})
    happened = model.prompts[-1].partition("# What has already happened\n\n")[2]
    assert happened.splitlines()[:3] == [
        """- tools['send'] with {"to": "ann"}: done""",
        """- tools['send'] with {"to": "bob"}: cut off; it may have taken effect, do not call it again""",
        """- tools['send_once'] with {"to": "bob"}: cut off; calling it again is safe""",
    ]
    assert "busy" not in model.prompts[-1]


async def test_no_message_is_sent_twice() -> None:
    model = scripted(FAILURE, FAILURE, FAILURE, FAILURE, LAST)
    await create_codemode(model=model, tools=TOOLS, max_attempts=5).compile().ainvoke({"task": "Remind them."})
    assert len(model.prompts) == len(set(model.prompts)) == 5
    assert "Attempt 4: begin in another way." in model.prompts[3]


@pytest.mark.parametrize(("set_to", "asked_with"), [(0.0, [0.0, 0.0, 0.6]), (None, [None] * 3), (0.9, [0.9] * 3)])
async def test_an_unchanged_program_is_asked_for_anew_at_another_temperature(
    set_to: float | None, asked_with: list[float | None]
) -> None:
    seen: list[float | None] = []

    class Warm(ScriptedModel):
        temperature: float | None = None

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            seen.append(self.temperature)
            return super()._generate(*args, **kwargs)

    model = Warm(replies=[f"```python\n{each.strip()}\n```" for each in (FAILURE, FAILURE, LAST)], temperature=set_to)
    state = await create_codemode(model=model, tools=TOOLS).compile().ainvoke({"task": "Remind them."})
    assert state["verdict"] == "ok"
    assert seen == asked_with


async def test_what_looks_like_a_credential_is_in_no_message() -> None:
    key = "sk-live1234567890abcdef"

    async def account(owner: str) -> dict[str, str]:
        """Look an account up."""
        return {"owner": owner, "note": f"Bearer {key}"}

    program = "found = await tools.account('Ann')\nprint(found)\n{}"
    ends = ("raise ValueError(str(found))", "found['nope']", "None", "await tools.account(owner=found['note'])['x']")
    for end in ends:
        model = scripted(program.format(end), LAST)
        await create_codemode(model=model, tools=[account]).compile().ainvoke({"task": "Look."})
        assert "[redacted]" in model.prompts[-1]
        assert key not in model.prompts[-1]


@pytest.mark.parametrize(
    "reply",
    [
        '{"tool": "stock", "arguments": {"sku": "H1"}}',
        '```\n{"tool": "stock", "arguments": {"sku": "H1"}}\n```',
        '[{"name": "stock", "parameters": {"sku": "H1"}}]',
        '```\n{"action": "stock", "action_input": {"sku": "H1"}}\n```',
        '```python\ncall = {"stock": {"sku": "H1"}}\ncall\n```',
        '{"tool_calls": [{"type": "function", "function": {"name": "stock", "arguments": "{\\"sku\\": \\"H1\\"}"}}]}',
    ],
)
async def test_a_call_of_a_tool_as_data_is_no_answer(reply: str) -> None:
    model = ScriptedModel(replies=[reply, f"```python\n{LAST}\n```"])
    state = await create_codemode(model=model, tools=TOOLS).compile().ainvoke({"task": "How many H1?"})
    assert state["output"] == "done"
    # In a fence it is a program, which the check sees to, and else no program at all.
    if "```" in reply:
        message = "this is a call of 'stock' as data, and calls nothing: write `await tools['stock'](sku='H1')`"
        assert message in model.prompts[-1]
    assert "You cannot call the tools yourself" in model.prompts[-1]


@pytest.mark.parametrize(
    "program", ["{'name': 'stock'[:3], 'pieces': {}}", "{'best': 'stock', 'n': {}}", "{'sku': {'n': 1}}"]
)
async def test_data_that_only_has_a_name_of_a_tool_is_an_answer(program: str) -> None:
    state = await create_codemode(model=None, tools=TOOLS).compile().ainvoke({"task": "", "code": program})
    assert state["verdict"] == "ok"
