import asyncio
import time

from codemode_sandboxes import Raised, Returned
from langgraph.store.memory import InMemoryStore

from codemode_graph.journal import Journal, canonical, is_unknown
from codemode_graph.state import ToolCall, ToolError
from codemode_graph.tools.spec import Effect


def call(journal: Journal, tool: str, effect: Effect, value: object = None, **arguments: object) -> ToolCall | None:
    """Make a call as the bridge does; the record, or None where it was answered from the journal."""
    key = journal.key(tool, arguments)
    if journal.answer(key) is not None:
        return None
    record = journal.start(len(journal.made) + 1, tool, arguments, key=key, effect=effect, line=None)
    journal.finish(record, "done", value=value)
    return record


def repaired(journal: Journal) -> Journal:
    return Journal(journal.records, attempt=2)


def test_canonical_arguments_ignore_order_and_keep_types() -> None:
    assert canonical({"a": 1, "b": [1, 2]}) == canonical({"b": [1, 2], "a": 1})
    assert canonical({"a": 1}) != canonical({"a": "1"})
    assert canonical({"a": None}) != canonical({})
    assert canonical({"a": 1}) != canonical({"a": 1.0})
    assert canonical({"a": True}) != canonical({"a": 1})


def test_a_repaired_program_is_answered_and_a_genuine_second_call_runs() -> None:
    first = Journal(attempt=1)
    assert call(first, "pay", "write", {"id": 1}, amount=5) is not None
    second = repaired(first)
    assert call(second, "pay", "write", amount=5) is None
    assert call(second, "pay", "write", amount=5) is not None
    assert [r["attempt"] for r in second.records] == [1, 2]
    assert second.records[0].get("answered") == [2]
    assert second.made == ["1.1", "2.2"]


def test_two_identical_calls_of_one_attempt_both_run() -> None:
    journal = Journal(attempt=1)
    assert call(journal, "pay", "write", amount=5) is not None
    assert call(journal, "pay", "write", amount=5) is not None


def test_a_read_is_answered_until_something_changed() -> None:
    first = Journal(attempt=1)
    call(first, "read", "read", 1)
    assert call(repaired(first), "read", "read") is None
    time.sleep(0.001)
    call(first, "write", "write")
    assert call(repaired(first), "read", "read") is not None


def test_a_read_made_after_the_last_change_is_answered() -> None:
    first = Journal(attempt=1)
    call(first, "write", "write")
    time.sleep(0.001)
    call(first, "read", "read", 2)
    second = repaired(first)
    recorded = second.answer(second.key("read", {}))
    assert recorded is not None
    assert recorded[1] == Returned(2)


def test_failed_calls_and_calls_that_never_started_run_again() -> None:
    first = Journal(attempt=1)
    for status in ("failed", "not_started"):
        record = first.start(1, status, {}, key=first.key(status, {}), effect="write", line=None)
        first.finish(record, status)
    second = repaired(first)
    assert call(second, "failed", "write") is not None
    assert call(second, "not_started", "write") is not None


def test_a_call_that_may_have_happened_is_never_run_again_blindly() -> None:
    first = Journal(attempt=1)
    first.start(1, "cut", {}, key=first.key("cut", {}), effect="destructive", line=None)
    record = first.start(2, "late", {}, key=first.key("late", {}), effect="write", line=None)
    first.finish(record, "unknown")
    second = repaired(first)
    for tool in ("cut", "late"):
        key = second.key(tool, {})
        assert second.answer(key) is None
        assert is_unknown(second.latest(key))


def test_a_program_that_is_started_again_gets_the_same_answers() -> None:
    first = Journal(attempt=1)
    for status, error in (("done", None), ("failed", ToolError(type="KeyError", message="x"))):
        record = first.start(1, status, {}, key=first.key(status, {}), effect="read", line=None)
        first.finish(record, status, value=1 if error is None else None, error=error)  # type: ignore[arg-type]
    time.sleep(0.001)
    call(first, "write", "write", 2)
    again = Journal(first.records, attempt=1)
    answers = {tool: again.answer(again.key(tool, {})) for tool in ("done", "failed", "write")}
    assert {tool: answer and answer[1] for tool, answer in answers.items()} == {
        "done": Returned(1),
        "failed": Raised("KeyError", "x"),
        "write": Returned(2),
    }
    assert len(again.records) == 3


def test_a_read_that_was_answered_by_an_earlier_one_is_so_again_when_the_program_is_started_again() -> None:
    first = Journal(attempt=1)
    call(first, "read", "read", 1)
    assert first.answer(first.key("read", {}), cached=True) is not None
    time.sleep(0.001)
    call(first, "write", "write")
    again = Journal(first.records, attempt=1)
    answers = [again.answer(again.key("read", {}), cached=True) for _ in range(3)]
    assert [answer and answer[1] for answer in answers] == [Returned(1), Returned(1), None]


def test_another_call_with_the_number_of_an_earlier_one_does_not_replace_its_record() -> None:
    first = Journal(attempt=1)
    call(first, "pay", "write", 1)
    again = Journal(first.records, attempt=1)
    again.start(1, "other", {}, key=again.key("other", {}), effect="write", line=None)
    assert again.answer(again.key("pay", {})) is not None
    assert again.count("pay") == 1


async def test_what_the_store_knows_of_a_later_time_is_taken_over() -> None:
    store = InMemoryStore()
    first = Journal(attempt=1, store=store, run_id="r")
    key = first.key("pay", {})
    record = first.start(1, "pay", {}, key=key, effect="write", line=None)
    first.finish(record, "unknown")
    await first.write(record)
    before = [each.copy() for each in first.records]
    await asyncio.sleep(0.001)
    begun = first.start(1, "pay", {}, key=key, effect="write", line=None)
    await first.write(begun)
    for known in ([], before):
        second = Journal(known, attempt=1, store=store, run_id="r")
        await second.recover()
        assert [(each["status"], each["started"]) for each in second.records] == [("started", begun["started"])]
    first.finish(begun, "done", value=1)
    third = Journal(first.records, attempt=1, store=store, run_id="r")
    await third.recover()
    assert [each["status"] for each in third.records] == ["done"]


def test_the_records_given_are_not_changed() -> None:
    first = Journal(attempt=1)
    call(first, "pay", "write", amount=5)
    before = [record.copy() for record in first.records]
    call(repaired(first), "pay", "write", amount=5)
    assert first.records == before
