"""The forms in which clients answer, and the decisions that they amount to."""

from typing import Any

import pytest

from codemode_graph.integrations.elicitation import read_form

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
