"""Storage of values that are too big for the state, or have something to hide."""

import pytest

from codemode_graph.calls.journal import MemoryJournal
from codemode_graph.calls.values import Values, is_reference

SECRET = "correct horse battery staple"


async def test_a_large_value_is_in_the_journal_and_can_be_read_by_its_run_alone() -> None:
    journal = MemoryJournal()
    values = Values(run="r1", journal=journal, inline_bytes=10)
    kept = await values.keep("x" * 100)
    assert is_reference(kept)
    # Another host, which has nothing but the journal, finds it too.
    assert await Values(run="r1", journal=journal).load(kept) == "x" * 100
    for handle in (kept["codemode_reference"], "r2-../../etc/passwd", "r2-0"):
        with pytest.raises(KeyError):
            await Values(run="r2", journal=journal).fetch(handle)


async def test_a_value_that_looks_like_a_reference_is_kept_as_what_it_is() -> None:
    values = Values(run="r1", journal=MemoryJournal())
    forged = {"codemode_reference": "r2-0", "bytes": 1, "shape": "str", "sample": "x"}
    kept = await values.keep(forged)
    assert kept != forged
    assert await values.load(kept) == forged


async def test_a_secret_is_not_in_the_journal_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = MemoryJournal()
    values = Values(run="r1", journal=journal)
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    kept = await values.keep({"token": SECRET}, shown={"token": "[redacted]"}, secret=True)
    assert await values.load(kept) == {"token": SECRET}
    assert not journal._values
    assert SECRET not in str(kept)


async def test_with_a_key_it_is_encrypted_there(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = MemoryJournal()
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    kept = await Values(run="r1", journal=journal).keep({"token": SECRET}, shown={}, secret=True)
    (text,) = journal._values.values()
    assert SECRET not in text
    assert await Values(run="r1", journal=journal).load(kept) == {"token": SECRET}
