"""The forms in which clients answer, and the decisions that they amount to."""

from types import SimpleNamespace
from typing import Any

import pytest
from mcp.types import ElicitResult

from codemode_graph.errors import Undecided
from codemode_graph.integrations.elicitation import Elicitation, read_form

ACTION = {"name": "send", "args": {"to": "ann"}}

FORMS: list[tuple[dict[str, Any] | None, str]] = [
    (None, "approve"),  # the client shows a button, and it was pressed
    ({}, "approve"),
    ({"decision": "approve"}, "approve"),
    ({"decision": "Approve "}, "approve"),
    ({"decision": True}, "approve"),
    ({"decision": False}, "reject"),
    ({"decision": ["reject"]}, "reject"),
    ({"approve": True}, "approve"),
    ({"approve": False}, "reject"),
    ({"approve": "no"}, "reject"),
    ({"confirmed": "yes"}, "approve"),
    ({"reject": True}, "reject"),
    ({"deny": "yes", "message": "too much"}, "reject"),
    ({"answer": "OK"}, "approve"),
    ({"answer": "Denied."}, "reject"),
    ({"choice": ["allow"]}, "approve"),
    ({"response": "no"}, "reject"),
    ({"decision": "respond", "message": "it was"}, "respond"),
]


@pytest.mark.parametrize(("content", "kind"), FORMS, ids=str)
def test_any_form_is_read(content: dict[str, Any] | None, kind: str) -> None:
    assert read_form(ACTION, content)["type"] == kind


@pytest.mark.parametrize(
    "content",
    [
        {"decision": "maybe"},
        {"decision": None},
        {"decision": 1},
        {"decision": ["approve", "reject"]},
        {"message": "go on"},
        {"arguments": '{"to": "ann"}'},
        {"reject": False},
        {"answer": "yes, but not to Ann"},
        {"answer": "not approved"},
        {"approve": True, "reject": True},
        {"approve": True, "sure": False},
        {"decision": "edit", "arguments": "[]"},
        {"decision": "edit"},
    ],
    ids=str,
)
def test_what_is_no_clear_decision_approves_nothing(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"has to be one of|arguments are not"):
        read_form(ACTION, content)


def test_what_may_not_be_decided_is_not() -> None:
    with pytest.raises(ValueError, match="has to be one of reject, respond"):
        read_form(ACTION, None, ["reject", "respond"])
    edited = read_form(ACTION, {"decision": "edit", "arguments": '{"to": "bob"}'})
    assert edited == {"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob"}}}


UNKNOWN = {**ACTION, "id": "1.1", "reason": "unknown", "description": "It was cut off."}


@pytest.mark.parametrize("content", [form for form, kind in FORMS if kind == "approve"], ids=str)
def test_a_yes_does_not_make_a_call_again_that_was_cut_off(content: dict[str, Any] | None) -> None:
    explicit = content is not None and str(content.get("decision")).strip().lower() == "approve"
    if explicit:
        assert read_form(UNKNOWN, content)["type"] == "approve"
        return
    with pytest.raises(ValueError, match="answer approve: It did not take effect: call it now"):
        read_form(UNKNOWN, content)


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_a_form_that_is_closed_does_not_say_that_a_call_did_nothing(action: str) -> None:
    shown: list[dict[str, Any]] = []

    async def elicit(message: str, schema: dict[str, Any], request: Any) -> Any:
        shown.append(schema["properties"]["decision"])
        return ElicitResult(action=action, content=None)  # type: ignore[arg-type]

    context: Any = SimpleNamespace(session=SimpleNamespace(elicit_form=elicit), request_id=1)
    review = {"action_name": "send", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    with pytest.raises(Undecided):
        await Elicitation(context)({"action_requests": [UNKNOWN], "review_configs": [review]})
    assert shown[0]["title"] == "Did send take effect?"
    assert len(shown[0]["enumNames"]) == len(shown[0]["enum"]) == 4
