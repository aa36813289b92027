import pytest

from codemode_graph.nodes.approve import _from_words, read_decisions, static_plan
from codemode_graph.state import PendingCall


def waiting(number: int, tool: str = "pay") -> PendingCall:
    return PendingCall(
        id=f"1.{number}", key=f"k{number}", tool=tool, arguments={"n": number}, line=number, reason="approval"
    )


PENDING = [waiting(1), waiting(2)]


def test_decisions_without_ids_are_taken_in_order() -> None:
    answer = {"decisions": [{"type": "approve"}, {"type": "reject", "message": "too much"}]}
    assert read_decisions(PENDING, answer) == {
        "k1": {"type": "approve"},
        "k2": {"type": "reject", "message": "too much"},
    }


def test_decisions_with_ids_are_tied_to_their_calls_in_any_order_and_number() -> None:
    assert read_decisions(PENDING, {"decisions": [{"type": "approve", "id": "1.2"}]}) == {"k2": {"type": "approve"}}
    swapped = [{"type": "reject", "id": "1.2"}, {"type": "approve", "id": "1.1"}]
    assert read_decisions(PENDING, {"decisions": swapped})["k1"] == {"type": "approve"}


def test_an_edit_changes_arguments_and_a_response_stands_for_the_value() -> None:
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"n": 9}}}
    respond = {"type": "respond", "message": {"id": 7}}
    assert read_decisions(PENDING, {"decisions": [edit, respond]}) == {
        "k1": {"type": "edit", "arguments": {"n": 9}},
        "k2": {"type": "respond", "message": {"id": 7}},
    }


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("yes", "decisions"),
        ({"decisions": "approve"}, "decisions"),
        ({"decisions": [{"type": "approve"}]}, "2 calls wait"),
        ({"decisions": [{"type": "approve", "id": "1.1"}, {"type": "approve"}]}, "every decision"),
        ({"decisions": [{"type": "approve", "id": "9.9"}]}, "among 1.1, 1.2"),
        ({"decisions": [{"type": "approve", "id": "1.1"}, {"type": "reject", "id": "1.1"}]}, "each once"),
        ({"decisions": [{"type": "go"}, {"type": "approve"}]}, "one of approve, edit, reject, respond"),
        ({"decisions": [{"type": "edit"}, {"type": "approve"}]}, "edited_action"),
        (
            {"decisions": [{"type": "edit", "edited_action": {"name": "x", "args": {}}}, {"type": "approve"}]},
            "not its tool",
        ),
    ],
)
def test_an_answer_that_fits_no_calls_is_refused(answer: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_decisions(PENDING, answer)


@pytest.mark.parametrize("word", ["yes", "No.", "yes: it did"])
def test_a_yes_to_a_call_of_unknown_outcome_is_no_answer(word: str) -> None:
    """It may mean that the call took effect, and approving makes the call once more."""
    unknown: list[PendingCall] = [{**PENDING[0], "reason": "unknown"}]
    with pytest.raises(ValueError, match=r"pay took effect is not known.*respond.*1\.1"):
        _from_words(word, unknown)
    assert _from_words("approve", unknown) == [{"type": "approve"}]
    assert _from_words("yes", PENDING[:1]) == [{"type": "approve"}]


def test_the_plan_lists_the_calls_that_may_follow() -> None:
    program = (
        "async def main():\n"
        "    a = await tools['read'](1)\n"
        "    await tools.pay(amount=a['total'], to='ann')\n"
        "    for x in a['rest']:\n"
        "        await tools['pay'](amount=x)\n"
    )
    assert static_plan(program, after=3) == [{"line": 5, "tool": "pay", "arguments": {"amount": "x"}}]
    assert [call["line"] for call in static_plan(program)] == [2, 3, 5]
    assert static_plan("while True:\n    await tools.pay(1)\n    x = 1", after=2)[0]["tool"] == "pay"
    assert static_plan("not python (") == []
