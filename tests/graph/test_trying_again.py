"""A program, or a repaired one, that makes a call again after an error: what failed is made again, what took effect is
not, and of what may have taken effect somebody is asked."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from codemode_sandboxes import Returned
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import interrupt

from codemode_graph import RunResult, ToolPolicy, codemode, create_codemode
from codemode_graph.tools import tool
from codemode_graph.tools.spec import Review

UNTIL_IT_WORKS = """
for _ in range(3):
    try:
        done = await tools.pay('Ann', 5)
        break
    except Exception as error:
        print(type(error).__name__)
"""


class Bank:
    """Pays, in the way that the next word says; at once where there is none."""

    def __init__(self, *words: str) -> None:
        self.words, self.paid, self.asked = list(words), list[Any](), list[Any]()

    def pay(self, effect: Any = "write") -> Any:
        @tool(effect=effect)
        async def pay(to: str, amount: int) -> str:
            """Pay."""
            word = self.words.pop(0) if self.words else "pay"
            if word == "busy":
                raise RuntimeError("busy")
            if word != "lost":
                self.paid.append((to, amount))
            if word in ("late", "lost"):
                await asyncio.sleep(5)
            if word == "unheard":
                raise TimeoutError("no answer")
            if word == "odd":
                return object()  # type: ignore[return-value]
            return "paid"

        return pay

    def answer(self, *decisions: dict[str, Any]) -> Callable[[Any], Any]:
        """Decide in turn; what is asked is noted."""
        answers = iter(decisions)

        def approve(request: Any) -> Any:
            self.asked += [(each["reason"], each["args"]) for each in request["action_requests"]]
            return {"decisions": [next(answers) for _ in request["action_requests"]]}

        return approve


APPROVE: dict[str, Any] = {"type": "approve"}
REJECT: dict[str, Any] = {"type": "reject", "message": "no"}
ARGUMENTS = {"to": "Ann", "amount": 5}


async def run(bank: Bank, *programs: str, effect: str = "write", approve: Any = None, **policy: Any) -> RunResult:
    """Run programs, each of which repairs the one before."""
    policies = {"pay": ToolPolicy(**{"timeout": 0.3, **policy})}
    async with codemode(tools=[bank.pay(effect)], policies=policies, approve=approve) as cm:
        result = await cm.run_code(programs[0])
        for program in programs[1:]:
            assert not result["success"]
            result = await cm.run_code(program, after=result["run_id"])
    return result


def statuses(result: RunResult) -> list[tuple[str, str]]:
    return [(call["id"], call["status"]) for call in result["tool_calls"]]


async def test_what_failed_and_was_tried_again_with_success_is_not_done_again_by_the_repaired_program() -> None:
    bank = Bank("busy", "busy")
    result = await run(bank, UNTIL_IT_WORKS + "{}['x']", UNTIL_IT_WORKS + "done")
    assert (result["output"], bank.paid) == ("paid", [("Ann", 5)])
    assert statuses(result) == [("1.1", "failed"), ("1.2", "failed"), ("1.3", "done")]
    assert result["attempts"][-1]["calls"] == ["1.1", "1.3"]  # on the way to what stands, it is told the failure again


async def test_of_calls_made_together_those_that_failed_are_made_again_and_no_others() -> None:
    bank = Bank("pay", "busy", "pay")
    together = "import asyncio\nawait asyncio.gather(*[tools.pay('Ann', 5) for _ in range(3)])"
    result = await run(bank, together, together)
    assert result["output"] == ["paid"] * 3
    assert bank.paid == [("Ann", 5)] * 3


@pytest.mark.parametrize("word", ["late", "unheard"])
async def test_a_program_that_tries_again_after_a_timeout_waits_for_a_person(word: str) -> None:
    bank = Bank(word)
    result = await run(bank, UNTIL_IT_WORKS + "done")
    assert "waits for a person to decide on pay (1.1, TimeoutError: " in str(result["error"])
    assert result["stdout"] == ""  # it is told nothing before that is known
    assert bank.paid == [("Ann", 5)]


@pytest.mark.parametrize(
    ("decision", "paid", "output", "printed"),
    [
        (APPROVE, 2, "paid", ""),
        ({"type": "respond", "message": "paid before"}, 1, "paid before", ""),
        (REJECT, 1, None, "PermissionError\n" * 3),
    ],
)
async def test_that_person_decides(decision: Any, paid: int, output: Any, printed: str) -> None:
    bank = Bank("late")
    result = await run(bank, "done = None" + UNTIL_IT_WORKS + "done", approve=bank.answer(decision))
    assert (len(bank.paid), result["output"], result["stdout"]) == (paid, output, printed)
    assert bank.asked == [("unknown", ARGUMENTS)]


async def test_each_time_that_is_cut_off_is_asked_about_by_itself() -> None:
    bank = Bank("late", "late")
    result = await run(bank, UNTIL_IT_WORKS + "done", approve=bank.answer(APPROVE, APPROVE))
    assert (len(bank.paid), result["output"], len(bank.asked)) == (3, "paid", 2)
    assert statuses(result) == [("1.1", "done")]


async def test_what_was_made_again_by_a_persons_word_is_not_by_the_repaired_program() -> None:
    bank = Bank("late")
    result = await run(bank, UNTIL_IT_WORKS + "{}['x']", UNTIL_IT_WORKS + "done", approve=bank.answer(APPROVE))
    assert (result["output"], len(bank.paid), len(bank.asked)) == ("paid", 2, 1)


async def test_a_call_that_was_refused_is_refused_again_unasked() -> None:
    bank = Bank()
    result = await run(bank, UNTIL_IT_WORKS + "1", approval=True, approve=bank.answer(REJECT))
    assert result["stdout"] == "PermissionError\n" * 3
    assert (bank.paid, len(bank.asked)) == ([], 1)


async def test_an_approval_is_for_one_call_and_not_for_trying_again() -> None:
    bank = Bank("busy", "busy")
    decide = bank.answer(APPROVE, APPROVE, APPROVE)
    result = await run(bank, "await tools.pay('Ann', 5)", UNTIL_IT_WORKS + "done", approval=True, approve=decide)
    assert (result["output"], bank.paid) == ("paid", [("Ann", 5)])
    assert bank.asked == [("approval", ARGUMENTS)] * 3


@pytest.mark.parametrize("word", ["late", "lost"])
async def test_verify_tells_what_a_person_would_have_to(word: str) -> None:
    bank = Bank(word)

    async def verify(arguments: Any) -> Returned | None:
        assert arguments == ARGUMENTS
        return Returned("found") if bank.paid else None

    again = UNTIL_IT_WORKS + "{}['x']", UNTIL_IT_WORKS + "done"
    result = await run(bank, *again, verify=verify)
    assert len(bank.paid) == 1
    assert result["output"] == ("found" if word == "late" else "paid")
    assert statuses(result) == [("1.1", "done")]


async def test_a_call_that_took_effect_and_gave_no_data_is_not_made_again() -> None:
    bank = Bank("odd")
    result = await run(bank, UNTIL_IT_WORKS + "1")
    assert (result["stdout"], bank.paid) == ("TypeError\n" * 3, [("Ann", 5)])


async def test_an_idempotent_call_that_was_cut_off_is_made_again_unasked() -> None:
    bank = Bank("late", "late")
    result = await run(bank, "await tools.pay('Ann', 5)", effect="idempotent")
    assert (result["output"], len(bank.paid)) == ("paid", 3)
    assert statuses(result) == [("1.1", "done")]


async def test_one_that_never_answers_is_asked_about_in_the_end() -> None:
    bank = Bank(*["late"] * 9)
    result = await run(bank, "await tools.pay('Ann', 5)", effect="idempotent")
    assert "waits for a person" in str(result["error"])
    assert len(bank.paid) == 3


async def test_what_a_person_changed_is_what_is_asked_about_and_made_again() -> None:
    bank = Bank("late")
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "Ann", "amount": 1}}}
    decide = bank.answer(edit, APPROVE)
    result = await run(bank, UNTIL_IT_WORKS + "done", approval=True, approve=decide)
    assert result["output"] == "paid"
    assert bank.asked == [("approval", ARGUMENTS), ("unknown", {"to": "Ann", "amount": 1})]
    assert bank.paid == [("Ann", 1)] * 2


async def test_a_call_that_the_program_gave_up_may_have_taken_effect_too() -> None:
    bank = Bank("late")
    program = (
        "import asyncio\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        done = await asyncio.wait_for(tools.pay('Ann', 5), 0.05)\n"
        "    except TimeoutError:\n"
        "        pass\n"
        "done"
    )
    async with codemode(tools=[bank.pay()], backend="restricted") as cm:
        result = await cm.run_code(program)
    assert "waits for a person" in str(result["error"])
    assert statuses(result) == [("1.1", "unknown")]


async def test_two_identical_calls_that_both_work_are_two() -> None:
    bank = Bank()
    twice = "for _ in range(2):\n    await tools.pay('Ann', 5)\n"
    result = await run(bank, twice + "{}['x']", twice + "1")
    assert (result["output"], bank.paid) == (1, [("Ann", 5)] * 2)


async def test_a_call_that_names_a_default_is_the_call_that_does_not() -> None:
    sent: list[Any] = []

    async def send(to: str, *, copies: int = 1, draft: bool = False, to_all: list[str] | None = None) -> str:
        """Send something."""
        sent.append((to, copies, draft, to_all))
        return "sent"

    programs = "await tools.send('ann', draft=False)", "await tools.send('ann', copies=1, to_all=None)"
    async with codemode(tools=[send]) as cm:
        failed = await cm.run_code(programs[0] + "\n{}['x']")
        assert (await cm.run_code(programs[1], after=failed["run_id"]))["output"] == "sent"
        assert len(sent) == 1
        for different in ("copies=2", "draft=True", "to_all=['bob']"):
            failed = await cm.run_code("await tools.send('ann')\n{}['x']")
            await cm.run_code(f"await tools.send('ann', {different})", after=failed["run_id"])
    assert len(sent) == 7


async def test_arguments_that_the_tool_takes_for_the_same_are_the_same_call() -> None:
    sent: list[Any] = []

    async def send(amount: float, copies: int = 1, at: datetime | None = None, price: Decimal | None = None) -> str:
        """Send something."""
        sent.append(amount)
        return "sent"

    spellings = [
        ("45", "45.0"),
        ("45, '1'", "45, copies=1"),
        ("1, at='2026-01-01T12:00:00Z'", "1, at='2026-01-01T13:00:00+01:00'"),
        ("1, price='1.50'", "1, price=1.5"),
    ]
    async with codemode(tools=[send]) as cm:
        for first, second in spellings:
            failed = await cm.run_code(f"await tools.send({first})\n{{}}['x']")
            result = await cm.run_code(f"await tools.send({second})", after=failed["run_id"])
            assert result["output"] == "sent"
    assert len(sent) == len(spellings)


async def test_what_a_person_changed_stays_changed_however_often_it_is_cut_off() -> None:
    bank = Bank("late", "late", "busy")
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "Ann", "amount": 1}}}
    decide = bank.answer(edit, APPROVE, APPROVE, APPROVE)
    program = UNTIL_IT_WORKS.replace("range(3)", "range(4)") + "done"
    result = await run(bank, program, approval=True, approve=decide)
    assert result["output"] == "paid"
    assert bank.asked == [("approval", ARGUMENTS), *[("unknown", {"to": "Ann", "amount": 1})] * 3]
    assert {amount for _, amount in bank.paid} == {1}
    # A try that fails says nothing of the one before, whose outcome is unknown: so the third is asked about too.
    assert statuses(result) == [("1.1", "done")]


async def test_a_value_that_cannot_be_kept_does_not_undo_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep(*_: Any, **__: Any) -> Any:
        raise OSError("the disk is full")

    bank = Bank()
    monkeypatch.setattr("codemode_graph.calls.values.Values.keep", keep)
    result = await run(bank, UNTIL_IT_WORKS.replace("type(error).__name__", "error") + "{}['x']")
    assert result["stdout"] == "what pay returned could not be kept: the disk is full\n" * 3
    assert (len(bank.paid), statuses(result)) == (1, [("1.1", "done")])


async def test_a_call_that_is_found_not_to_have_happened_is_made_and_the_other_is_answered() -> None:
    """Also where a person is asked in between, and the program is started again."""
    bank = Bank("lost", "pay")

    async def nothing_happened(arguments: Any) -> None:
        return None

    both = "import asyncio\nawait asyncio.gather(*[tools.pay('Ann', 5) for _ in range(2)], return_exceptions=True)"
    decide = bank.answer(APPROVE, APPROVE, APPROVE)
    result = await run(bank, both + "\n{}['x']", both, approval=True, verify=nothing_happened, approve=decide)
    assert (result["output"], len(bank.paid)) == (["paid"] * 2, 2)
    assert statuses(result) == [("1.1", "done"), ("1.2", "done")]


async def test_what_was_read_while_a_call_was_in_doubt_is_read_again() -> None:
    balance = 100

    async def pay() -> str:
        """Pay."""
        raise TimeoutError("no answer")

    @tool(effect="read")
    async def look() -> int:
        """Look."""
        return balance

    program = "try:\n    await tools.pay()\nexcept TimeoutError:\n    pass\nseen = await tools.look()\n"
    async with codemode(tools=[pay, look]) as cm:
        failed = await cm.run_code(program + "{}['x']")
        balance = 70
        assert (await cm.run_code("await tools.look()", after=failed["run_id"]))["output"] == 70


async def test_where_verify_fails_a_person_is_asked() -> None:
    bank = Bank("late")

    async def verify(arguments: Any) -> Returned | None:
        raise RuntimeError("the bank is closed")

    result = await run(bank, UNTIL_IT_WORKS + "done", verify=verify, approve=bank.answer(APPROVE))
    assert (result["output"], bank.asked) == ("paid", [("unknown", ARGUMENTS)])


@pytest.mark.parametrize("cancels", ["a future", "its task"])
@pytest.mark.parametrize("callbacks", [[], [BaseCallbackHandler()]])
async def test_a_tool_that_is_cancelled_from_within_may_have_taken_effect(cancels: str, callbacks: list[Any]) -> None:
    async def pay() -> str:
        """Pay."""
        task = asyncio.current_task()
        if cancels == "its task" and task is not None:
            task.cancel()
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    graph = create_codemode(model=None, tools=[pay]).compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "1"}, "callbacks": callbacks}
    state = await graph.ainvoke({"task": "", "code": "await tools.pay()"}, config)
    assert [(call["status"], call["error"]["message"]) for call in state["tool_calls"]] == [
        ("unknown", "pay was cancelled from within")
    ]
    assert [item["reason"] for item in (await graph.aget_state(config)).values["pending"]] == ["unknown"]


async def test_what_may_be_decided_holds_for_calls_that_were_cut_off() -> None:
    bank = Bank("late")
    review = Review(decisions=("approve", "reject"))
    requests: list[Any] = []

    def approve(request: Any) -> Any:
        requests.append(request["review_configs"][0]["allowed_decisions"])
        return {"decisions": [APPROVE]}

    await run(bank, UNTIL_IT_WORKS + "done", approval=review, approve=approve)
    assert requests == [["approve", "reject"], ["approve", "reject", "respond"]]


async def test_a_doubt_stays_until_it_is_settled_also_where_the_tool_asks_in_between() -> None:
    paid: list[str] = []
    words = ["late", "ask", "busy"]

    async def pay(to: str) -> str:
        """Pay."""
        word = words[0] if words else ""
        if word == "ask":
            interrupt("really?")
            words.remove("ask")
            word = words.pop(0)
        elif words:
            words.pop(0)
        if word == "busy":
            raise ValueError("busy")
        paid.append(to)
        await asyncio.sleep(5 if word == "late" else 0)
        return "paid"

    asked: list[Any] = []

    def approve(request: Any) -> Any:
        asked.append(request if isinstance(request, str) else request["action_requests"][0]["reason"])
        return "yes" if isinstance(request, str) else {"decisions": [APPROVE]}

    program = UNTIL_IT_WORKS.replace("'Ann', 5", "'Ann'") + "done"
    async with codemode(tools=[pay], policies={"pay": ToolPolicy(timeout=0.3)}, approve=approve) as cm:
        result = await cm.run_code(program)
    assert (result["output"], asked) == ("paid", ["unknown", "really?", "unknown"])


async def test_what_a_person_changed_does_not_settle_what_was_made_before() -> None:
    bank = Bank("late", "lost")
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "Ann", "amount": 1}}}
    amounts: list[Any] = []

    async def verify(arguments: Any) -> Returned | None:
        amounts.append(arguments["amount"])
        if len(amounts) == 1:
            raise RuntimeError("the bank is closed")
        return None

    result = await run(bank, UNTIL_IT_WORKS + "done", verify=verify, approve=bank.answer(edit, APPROVE))
    assert (result["output"], amounts) == ("paid", [5, 1])
    assert bank.asked == [("unknown", ARGUMENTS), ("unknown", {"to": "Ann", "amount": 1})]
    assert bank.paid == [("Ann", 5), ("Ann", 1)]


async def test_a_change_to_no_arguments_is_a_change() -> None:
    paid: list[int] = []

    async def pay(amount: int = 1) -> str:
        """Pay."""
        paid.append(amount)
        await asyncio.sleep(5 if len(paid) == 1 else 0)
        return "paid"

    decisions = iter([{"type": "edit", "edited_action": {"name": "pay", "args": {}}}, APPROVE])
    policies = {"pay": ToolPolicy(approval=True, timeout=0.3)}
    async with codemode(tools=[pay], policies=policies, approve=lambda _: {"decisions": [next(decisions)]}) as cm:
        result = await cm.run_code(UNTIL_IT_WORKS.replace("'Ann', 5", "500") + "done")
    assert (result["output"], paid) == ("paid", [1, 1])


async def test_an_idempotent_call_that_a_person_changed_is_asked_about() -> None:
    bank = Bank("late")
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "Ann", "amount": 1}}}
    decide = bank.answer(edit, APPROVE)
    result = await run(bank, UNTIL_IT_WORKS + "done", effect="idempotent", approval=True, approve=decide)
    assert (result["output"], bank.paid) == ("paid", [("Ann", 1)] * 2)
    assert bank.asked[1] == ("unknown", {"to": "Ann", "amount": 1})


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("effect", ["write", "idempotent"])
async def test_what_was_given_up_before_a_kill_is_in_doubt_after_it(effect: Any) -> None:
    kept: list[str] = []
    killed: list[bool] = []

    @tool(effect=effect)
    async def put(state: str) -> str:
        """Put something into a state."""
        kept.append(state)
        await asyncio.sleep(5 if len(kept) == 1 else 0)
        return state

    async def die() -> str:
        """Die."""
        if not killed:
            killed.append(True)
            raise Killed
        return "alive"

    program = (
        "import asyncio\n"
        "try:\n    await asyncio.wait_for(tools.put('open'), 0.05)\nexcept TimeoutError:\n    pass\n"
        "await tools.put('closed')\nawait tools.die()"
    )
    graph = create_codemode(model=None, tools=[put, die], sandbox="restricted")
    app = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(Killed):
        await app.ainvoke({"task": "", "code": program}, config)
    state = await app.ainvoke(None, config)
    (request,) = state["__interrupt__"][0].value["action_requests"]
    assert (request["reason"], request["args"]) == ("unknown", {"state": "open"})
    assert kept == ["open", "closed"]
