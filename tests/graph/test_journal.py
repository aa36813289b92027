import asyncio
import time
from typing import Any

import pytest
from codemode_sandboxes import Outcome, Raised, Returned
from langgraph.store.memory import InMemoryStore

from codemode_graph.calls.journal import Journal, canonical
from codemode_graph.state import ToolCall, ToolCallStatus, ToolError
from codemode_graph.tools.spec import Effect

LATE = ToolError(type="TimeoutError", message="late")


class Program:
    """Makes calls as the bridge does, one after the other."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.number = journal, 0

    def ask(self, tool: str, *, cached: bool = False, **arguments: Any) -> Outcome | None:
        """What the journal answers to the next call, which the program is told."""
        self.number += 1
        self.key = self.journal.key(self.number, tool, arguments)
        answered = self.journal.answer(self.number, self.key, cached=cached)
        if answered is None:
            return None
        self.journal.told(self.number, error=isinstance(answered[1], Raised))
        return answered[1]

    def start(self, tool: str, effect: Effect = "write", **arguments: object) -> ToolCall:
        return self.journal.start(self.number, tool, arguments, key=self.key, effect=effect, line=None)

    def call(
        self,
        tool: str,
        effect: Effect = "write",
        value: object = None,
        *,
        status: ToolCallStatus = "done",
        error: ToolError | None = None,
        **arguments: Any,
    ) -> ToolCall | None:
        """Make a call; the record, or None where it was answered from the journal."""
        if self.ask(tool, **arguments) is not None:
            return None
        record = self.start(tool, effect, **arguments)
        self.journal.finish(record, status, value=value, error=error)
        self.journal.told(self.number, error=error is not None)
        return record

    def repaired(self) -> "Program":
        return Program(Journal(self.journal.records, attempt=self.journal._attempt + 1))

    def again(self) -> "Program":
        """The same program, started again."""
        return Program(Journal(self.journal.records, attempt=self.journal._attempt))

    @property
    def seen(self) -> list[tuple[str, str]]:
        return [(record["id"], record["status"]) for record in self.journal.records]


def test_canonical_arguments_ignore_order_and_keep_types() -> None:
    assert canonical({"a": 1, "b": [1, 2]}) == canonical({"b": [1, 2], "a": 1})
    assert canonical({"a": 1}) != canonical({"a": "1"})
    assert canonical({"a": None}) != canonical({})
    assert canonical({"a": 1}) != canonical({"a": 1.0})
    assert canonical({"a": True}) != canonical({"a": 1})


def test_a_repaired_program_is_answered_and_a_genuine_second_call_runs() -> None:
    first = Program(Journal())
    assert first.call("pay", value={"id": 1}, amount=5) is not None
    second = first.repaired()
    assert second.call("pay", amount=5) is None
    assert second.call("pay", amount=5) is not None
    assert second.seen == [("1.1", "done"), ("2.2", "done")]
    assert second.journal.records[0].get("answered") == ["2.1"]
    assert second.journal.made == ["1.1", "2.2"]


def test_two_identical_calls_of_one_attempt_both_run() -> None:
    program = Program(Journal())
    assert program.call("pay", amount=5) is not None
    assert program.call("pay", amount=5) is not None


def test_a_read_is_answered_until_something_changed() -> None:
    first = Program(Journal())
    first.call("read", "read", 1)
    assert first.repaired().call("read", "read") is None
    time.sleep(0.001)
    first.call("write")
    assert first.repaired().call("read", "read") is not None


def test_a_read_made_after_the_last_change_is_answered() -> None:
    first = Program(Journal())
    first.call("write")
    time.sleep(0.001)
    first.call("read", "read", 2)
    assert first.repaired().ask("read") == Returned(2)


def test_failed_calls_and_calls_that_never_started_run_again() -> None:
    for status in ("failed", "not_started"):
        first = Program(Journal())
        first.call("pay", status=status)
        assert first.repaired().call("pay") is not None


def test_a_call_that_is_made_again_after_an_error_is_the_same_call() -> None:
    """A program that tries until it works has one effect, and so has its repaired form."""
    first = Program(Journal())
    for _ in range(2):
        assert first.call("pay", status="failed", error=LATE) is not None
    assert first.call("pay", value=1) is not None
    assert len({record["key"] for record in first.journal.records}) == 1
    second = first.repaired()
    assert second.ask("pay") == Returned(1)
    assert second.call("pay") is not None


def test_a_program_that_tries_again_is_answered_the_same_when_it_is_started_again() -> None:
    first = Program(Journal())
    first.call("pay", status="failed", error=LATE)
    first.call("pay", value=1)
    first.call("pay", value=2)
    again = first.again()
    assert [again.ask("pay") for _ in range(4)] == [Raised(**LATE), Returned(1), Returned(2), None]
    assert again.journal.records == first.journal.records


def test_calls_that_took_effect_answer_before_those_that_failed() -> None:
    """Of two that were made together the first failed; a repaired program that makes one has it already."""
    first = Journal()
    keys = [first.key(number, "pay", {}) for number in (1, 2)]
    records = [first.start(n, "pay", {}, key=keys[n - 1], effect="write", line=None) for n in (1, 2)]
    first.finish(records[0], "failed", error=LATE)
    first.finish(records[1], "done", value="paid")
    second = Program(first).repaired()
    assert second.ask("pay") == Returned("paid")
    assert second.call("pay") is not None
    assert second.call("pay") is not None
    assert len(second.journal.records) == 4
    third = second.repaired()
    assert [third.ask("pay") is not None for _ in range(4)] == [True, True, True, False]


def test_a_call_that_may_have_happened_is_never_run_again_blindly() -> None:
    first = Program(Journal())
    first.ask("cut")
    first.start("cut", "destructive")
    first.call("late", status="unknown", error=LATE)
    second = first.repaired()
    for tool in ("cut", "late"):
        assert second.ask(tool) is None
        before = second.journal.latest(second.key)
        assert before is not None
        assert not second.journal.may_repeat(before)


def test_nor_is_it_by_the_program_itself_once_it_was_told() -> None:
    program = Program(Journal())
    record = program.call("pay", status="unknown", error=LATE)
    assert program.ask("pay") is None
    assert program.journal.latest(program.key) is record
    again = program.again()
    assert again.ask("pay") == Raised(**LATE)
    assert again.ask("pay") is None
    assert again.key == program.key


def test_an_idempotent_call_that_was_cut_off_is_made_again_where_nothing_is_undone_by_it() -> None:
    first = Program(Journal())
    first.call("set", "idempotent", status="unknown", error=LATE, to="open")
    for program in (first, first.repaired()):
        assert program.ask("set", to="open") is None
        assert program.journal.may_repeat(program.journal.records[0])
    time.sleep(0.001)
    first.call("set", "idempotent", to="closed")
    assert first.journal.may_repeat(first.journal.records[0])
    second = first.repaired()
    assert not second.journal.may_repeat(second.journal.records[0])


def test_a_cut_off_call_of_which_the_truth_is_known_is_that_call() -> None:
    first = Program(Journal())
    first.call("pay", status="unknown", error=LATE)
    second = first.repaired()
    second.ask("pay")
    (record,) = second.journal.records
    assert second.journal.take_over(1, record)
    second.journal.finish(record, "done", value=1)
    assert second.again().ask("pay") == Returned(1)
    assert second.again().seen == [("1.1", "done")]


def test_what_a_program_was_told_of_a_cut_off_call_stays_what_it_was() -> None:
    program = Program(Journal())
    program.call("pay", status="unknown", error=LATE)
    program.ask("pay")
    (record,) = program.journal.records
    assert not program.journal.take_over(2, record)
    program.journal.finish(program.start("pay"), "done", value=1)
    again = program.again()
    assert [again.ask("pay") for _ in range(2)] == [Raised(**LATE), Returned(1)]
    repaired = program.repaired()
    assert [repaired.ask("pay") for _ in range(2)] == [Returned(1), None]


def test_a_call_that_had_no_effect_after_all_may_be_made_again() -> None:
    for error, status in ((LATE, "failed"), (None, "not_started")):
        first = Program(Journal())
        first.call("pay", status="unknown", error=error)
        second = first.repaired()
        second.ask("pay")
        second.journal.disprove(second.journal.records[0])
        assert second.seen == [("1.1", status)]
        assert second.journal.may_repeat(second.journal.records[0])


def test_a_program_that_is_started_again_gets_the_same_answers() -> None:
    first = Program(Journal())
    first.call("done", "read", 1)
    first.call("failed", "read", status="failed", error=LATE)
    time.sleep(0.001)
    first.call("write", value=2)
    again = first.again()
    assert [again.ask(tool) for tool in ("done", "failed", "write")] == [Returned(1), Raised(**LATE), Returned(2)]
    assert len(again.journal.records) == 3


def test_so_does_one_whose_calls_come_in_another_order() -> None:
    """After a kill, what ran side by side may go another way."""
    first = Program(Journal())
    for number in range(3):
        first.call("pay", value=number, to=number)
    first.call("fail", status="failed", error=LATE)
    again = first.again()
    assert again.ask("fail") == Raised(**LATE)
    assert [again.ask("pay", to=number) for number in (2, 1, 0)] == [Returned(2), Returned(1), Returned(0)]
    assert again.journal.records[0].get("answered") == ["1.4"]


def test_no_record_answers_two_identical_calls_that_come_at_other_places() -> None:
    first = Program(Journal())
    first.call("look", "read")
    for number in range(2):
        first.call("pay", value=number)
    again = first.again()
    assert sorted(str(again.ask("pay")) for _ in range(2)) == sorted(map(str, (Returned(0), Returned(1))))
    assert again.ask("pay") is None


def test_a_read_that_was_answered_by_an_earlier_one_is_so_again_when_the_program_is_started_again() -> None:
    first = Program(Journal())
    first.call("read", "read", 1)
    assert first.ask("read", cached=True) == Returned(1)
    time.sleep(0.001)
    first.call("write")
    again = first.again()
    assert [again.ask("read", cached=True) for _ in range(3)] == [Returned(1), Returned(1), None]


def test_another_call_with_the_number_of_an_earlier_one_does_not_replace_its_record() -> None:
    first = Program(Journal())
    first.call("pay", value=1)
    again = first.again()
    again.call("other")
    assert again.ask("pay") is not None
    assert again.journal.count("pay") == 1


async def test_what_the_store_knows_of_a_later_time_is_taken_over() -> None:
    store = InMemoryStore()
    first = Journal(attempt=1, store=store, run_id="r")
    key = first.key(1, "pay", {})
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


async def test_what_the_store_knows_comes_in_the_order_in_which_it_was_begun() -> None:
    store = InMemoryStore()
    first = Program(Journal(store=store, run_id="r"))
    for status, error in (("failed", LATE), ("done", None)):
        record = first.call("pay", status=status, error=error)  # type: ignore[arg-type]
        assert record is not None
        await first.journal.write(record)
        await asyncio.sleep(0.001)
    for known in ([], first.journal.records[:1], first.journal.records[1:]):
        second = Program(Journal(known, attempt=2, store=store, run_id="r"))
        await second.journal.recover()
        assert second.call("pay") is None


def test_the_records_given_are_not_changed() -> None:
    first = Program(Journal())
    first.call("pay", amount=5)
    before = [record.copy() for record in first.journal.records]
    first.repaired().call("pay", amount=5)
    assert first.journal.records == before


def test_what_is_begun_later_is_later_also_by_a_clock_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Program(Journal())
    first.call("pay", status="interrupted")
    monkeypatch.setattr("codemode_graph.calls.journal.time.time", lambda: 1.0)
    again = first.again()
    again.ask("pay")
    assert again.start("pay")["started"] > first.journal.records[0]["started"]
