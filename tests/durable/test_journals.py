"""The duties of every journal: in memory, in a SQLite file, in PostgreSQL, in a LangGraph store."""

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from codemode_graph.calls.journal import Conflict, Journal, JournalError, MemoryJournal, RunInfo
from codemode_graph.calls.log import Closed, Delivered, Done, Event, Opened, Renewed
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.calls.store import StoreJournal
from codemode_graph.catalogue import Notes
from tests.durable.appender import append_until, open_journal

ROOT = Path(__file__).parents[2]
ODD = "a\x00b \ud800 \u2028 'q\" \\ é 💶"


@dataclass
class Place:
    """A place of journals, and how one is opened there. `address` is for other processes, where they can reach it."""

    kind: str
    open: Callable[[], Journal]
    address: str = ""


@pytest.fixture(params=["memory", "store", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind: str = request.param
    if kind == "memory":
        memory = MemoryJournal()
        return Place(kind, lambda: memory)
    if kind == "store":
        store = InMemoryStore()
        return Place(kind, lambda: StoreJournal(store))
    address = str(tmp_path / "folder" / "journal.db")
    if kind == "postgres":
        address = request.getfixturevalue("postgres").create()
    return Place(kind, lambda: open_journal(address), address)


@pytest.fixture
async def journal(place: Place) -> AsyncIterator[Journal]:
    opened = place.open()
    yield opened
    await opened.aclose()


def opened(thread: str = "thread", digest: str = "digest", at: float = 1.0, **more: Any) -> Opened:
    return Opened(thread=thread, namespace="space", digest=digest, now=at, **more)


def renewals(*numbers: float) -> list[Event]:
    return [Renewed(owner="owner", until=number) for number in numbers]


async def test_notes_are_kept_beside_the_runs(place: Place, journal: Journal) -> None:
    assert isinstance(journal, Notes)
    await journal.note("types", "a\0\ud800", "one \0\ud800")
    await journal.note("types", "a\0\ud800", "two \0\ud800")
    await journal.note("types", "b", "three")
    await journal.note("types", "b", None)
    await journal.note("others", "a", "four")
    await journal.aclose()
    again = place.open()
    assert isinstance(again, Notes)
    assert await again.notes("types") == {"a\0\ud800": "two \0\ud800"}
    assert await again.notes("nothing") == {}
    assert await journal.runs() == []
    await again.aclose()


async def test_what_is_appended_is_read_in_order(journal: Journal) -> None:
    first: list[Event] = [opened(), *renewals(1, 2)]
    assert await journal.append("run", 0, first) == 3
    assert await journal.append("run", 3, renewals(3)) == 4
    assert await journal.append("run", 4, renewals(4, 5)) == 6
    everything = [*first, *renewals(3, 4, 5)]
    assert await journal.read("run") == everything
    for after in range(8):
        assert await journal.read("run", after) == everything[after:]
    assert await journal.read("another") == []
    assert await journal.read("another", 3) == []


async def test_events_are_as_they_were(journal: Journal) -> None:
    events: list[Event] = [
        Opened(thread=ODD, namespace=ODD, digest=ODD, task=ODD, server_run=ODD, seed=2**70, now=1.5),
        Done(call=0, time=0.1, value={"text": ODD, "list": [1, 2.5, None, True, 10**40], ODD: {}}),
        Delivered(session=1, clock=0.25, numbers=[3, 1]),
        Closed(how=ODD),
    ]
    run = f"run {ODD}"
    await journal.append(run, 0, events[:3])
    (found,) = await journal.find(ODD, ODD, ODD)
    assert found == RunInfo(
        run=run, thread=ODD, namespace=ODD, digest=ODD, task=ODD, server_run=ODD, opened=1.5, length=3
    )
    await journal.append(run, 3, events[3:])
    assert await journal.read(run) == events
    (listed,) = await journal.runs()
    assert (listed.closed, listed.length, listed.run) == (ODD, 4, run)


@pytest.mark.parametrize("expected", [0, 1, 2, 4, 5, 100])
async def test_another_number_of_events_than_expected_is_a_conflict(journal: Journal, expected: int) -> None:
    await journal.append("run", 0, [opened()])
    await journal.append("run", 1, renewals(1, 2))
    with pytest.raises(Conflict, match=f"run run has 3 events, not {expected}"):
        await journal.append("run", expected, renewals(9))
    assert len(await journal.read("run")) == 3
    assert (await journal.runs())[0].length == 3
    assert await journal.append("run", 3, renewals(3)) == 4


async def test_a_run_begins_with_no_events(journal: Journal) -> None:
    with pytest.raises(Conflict, match="run run has 0 events, not 1"):
        await journal.append("run", 1, renewals(1))
    assert await journal.runs() == []


async def test_open_runs_of_an_input_are_found_in_the_order_of_opening(journal: Journal) -> None:
    for run, at in (("c", 5.0), ("a", 5.0), ("b", 4.0)):
        await journal.append(run, 0, [opened(at=at, task="do", server_run="server")])
    await journal.append("other digest", 0, [opened(digest="d")])
    await journal.append("other thread", 0, [opened(thread="t")])
    await journal.append("closed at once", 0, [opened(), Closed(how="ok")])
    found = await journal.find("thread", "space", "digest")
    assert [info.run for info in found] == ["c", "a", "b"]
    assert found[0] == RunInfo(
        run="c",
        thread="thread",
        namespace="space",
        digest="digest",
        task="do",
        server_run="server",
        opened=5.0,
        length=1,
    )
    await journal.append("a", 1, [*renewals(1), Closed(how="ok")])
    assert [info.run for info in await journal.find("thread", "space", "digest")] == ["c", "b"]
    assert await journal.find("thread", "another", "digest") == []


async def test_pages_of_runs_lose_none_where_times_are_equal(journal: Journal) -> None:
    count = 1200
    now = 1_800_000_000.0
    times = {f"run {number}": now + (7200.0 if number % 3 == 0 else number // 400) for number in range(count)}
    for start in range(0, count, 100):
        names = list(times)[start : start + 100]
        await asyncio.gather(*(journal.append(run, 0, [opened(thread=run, at=times[run])]) for run in names))
    seen: list[RunInfo] = []
    while page := await journal.runs(before=seen[-1] if seen else None, limit=70):
        assert len(page) <= 70
        seen += page
        # Runs that go on meanwhile do not move.
        last = page[0]
        await journal.append(last.run, last.length, renewals(1))
        await journal.append(f"new {len(seen)}", 0, [opened(at=now + 10_000)])
    assert len({info.run for info in seen}) == len(seen) == count
    assert [info.rank for info in seen] == sorted((info.rank for info in seen), reverse=True)
    assert (await journal.runs(limit=1))[0].run.startswith("new")


async def test_large_values_are_kept_by_hash(journal: Journal) -> None:
    large = ODD + "x" * 3_000_000
    hash = await journal.keep("run", large)
    assert await journal.keep("run", large) == hash
    assert await journal.load("run", hash) == large
    for run, name in (("another", hash), ("run", "unknown")):
        with pytest.raises(KeyError):
            await journal.load(run, name)
    await journal.append("run", 0, [opened(), Done(call=0, time=1.0, value=large)])
    assert (await journal.read("run"))[1] == Done(call=0, time=1.0, value=large)


async def test_a_deleted_run_leaves_nothing(journal: Journal) -> None:
    for run in ("run", "run 2"):
        await journal.append(run, 0, [opened()])
        await journal.append(run, 1, renewals(1))
        hash = await journal.keep(run, "value")
    await journal.delete("run")
    await journal.delete("unknown")
    assert await journal.read("run") == []
    assert [info.run for info in await journal.runs()] == ["run 2"]
    assert [info.run for info in await journal.find("thread", "space", "digest")] == ["run 2"]
    with pytest.raises(KeyError):
        await journal.load("run", hash)
    assert await journal.load("run 2", hash) == "value"
    assert await journal.append("run", 0, [opened()]) == 1


async def test_one_of_many_who_append_at_once_wins(journal: Journal) -> None:
    await journal.append("run", 0, [opened()])
    outcomes = await asyncio.gather(
        *(journal.append("run", 1, renewals(number)) for number in range(40)), return_exceptions=True
    )
    assert [outcome for outcome in outcomes if not isinstance(outcome, Conflict)] == [2]
    assert len(await journal.read("run")) == 2


async def test_a_journal_is_used_again_after_it_was_closed(place: Place) -> None:
    journal = place.open()
    await journal.append("run", 0, [opened()])
    before = threads_and_files()
    await journal.aclose()
    await journal.aclose()
    if place.address:
        after = threads_and_files()
        assert after[0] < before[0]
        assert after[1] <= before[1] - (3 if place.kind == "sqlite" else 1)
    assert await journal.append("run", 1, renewals(1)) == 2
    await journal.aclose()


def threads_and_files() -> tuple[int, int]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


async def test_a_journal_that_is_dropped_ends_its_threads(place: Place) -> None:
    if not place.address:
        pytest.skip("it has no threads")
    others = set(threading.enumerate())  # earlier tests of this process may have journals still
    journal = place.open()
    await journal.append("run", 0, [opened()])
    (thread,) = [each for each in set(threading.enumerate()) - others if each.name == "codemode-journal"]
    del journal
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


@pytest.mark.slow
def test_one_journal_serves_several_event_loops(place: Place) -> None:
    """Each number has exactly one winner, and its event is the winner's."""
    journal, length = place.open(), 2000
    won: dict[str, list[int]] = {}

    def work(name: str) -> None:
        won[name] = asyncio.run(append_until(journal, "run", name, length))

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = asyncio.run(journal.read("run"))
    asyncio.run(journal.aclose())
    check_winners(events, won, length)


def check_winners(events: list[Event], won: dict[str, list[int]], length: int) -> None:
    winners = {number: name for name, numbers in won.items() for number in numbers}
    assert len(winners) == sum(len(numbers) for numbers in won.values()) == len(events) == length
    for number, event in enumerate(events, 1):
        assert event == Renewed(owner=winners[number], until=float(number))


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal that other processes reach."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    return str(request.getfixturevalue("postgres").create())


def appender(address: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.durable.appender", address, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
async def test_several_processes_append_to_one_run(address: str) -> None:
    length = 2000
    processes = {name: appender(address, name, str(length)) for name in ("a", "b", "c")}
    won = {}
    for name, process in processes.items():
        out, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors
        won[name] = [int(line) for line in out.splitlines()]
    journal = open_journal(address)
    check_winners(await journal.read("run"), won, length)
    await journal.aclose()


@pytest.mark.slow
async def test_what_was_appended_is_there_after_a_kill(address: str) -> None:
    journal = open_journal(address)
    for round_ in range(3):
        process = appender(address, "victim", "1000000")
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().splitlines()]
        process.communicate()
        events = await journal.read("run")
        assert told == list(range(told[0], told[-1] + 1)), round_
        assert len(events) >= told[-1]  # the last one may have been appended, and not been told
        assert events == [Renewed(owner="victim", until=float(number + 1)) for number in range(len(events))]
        assert (await journal.runs())[0].length == len(events)
    await journal.aclose()


@pytest.mark.slow
async def test_a_fork_in_the_middle_of_appends_is_survived(address: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.durable.appender", address, "forked"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    journal = open_journal(address)
    events = await journal.read("run")
    assert len(events) == 60
    assert [event.until for event in events if isinstance(event, Renewed)] == [number + 1.0 for number in range(60)]
    assert len(await journal.read("of the child")) == 10
    for number in range(8):
        assert len(await journal.read(f"other {number}")) == 20
    await journal.aclose()


async def test_a_later_version_of_the_events_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    if place.kind == "memory":
        pytest.skip("it writes none")
    journal = place.open()
    with monkeypatch.context() as later:
        later.setattr("codemode_graph.calls.log.VERSION", 99)
        # Events that the first version could hold are written in its form, so that older packages read them.
        await journal.append("run", 0, [replace(opened(), seed=2**70)])
    with pytest.raises(JournalError, match=r"version 99.*update codemode-graph"):
        await journal.read("run")
    assert (await journal.runs())[0].length == 1
    await journal.aclose()


async def test_a_later_version_of_the_tables_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        for module in ("sqlite", "postgres"):
            later.setattr(f"codemode_graph.calls.{module}.SCHEMA_VERSION", 7)
        later.setattr("codemode_graph.calls.database.SCHEMA_VERSION", 7)
        journal = open_journal(address)
        await journal.append("run", 0, [opened()])
        await journal.aclose()
    journal = open_journal(address)
    for use in (journal.read("run"), journal.append("run", 1, renewals(1)), journal.runs()):
        with pytest.raises(JournalError, match="has version 7, and this package reads up to 1: update codemode-graph"):
            await use
    await journal.aclose()


async def test_one_that_is_cancelled_leaves_the_others(journal: Journal) -> None:
    tasks = [asyncio.create_task(journal.append(f"run {number}", 0, [opened()])) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1::2] == [1] * 10
    # What was cancelled is appended, or it is not.
    for number in range(20):
        assert len(await journal.read(f"run {number}")) in ((0, 1) if number % 2 == 0 else (1,))


class TestSQLite:
    async def test_the_file_and_its_log_are_its_owners(self, tmp_path: Path) -> None:
        path = tmp_path / "some" / "folder" / "journal.db"
        mask = os.umask(0)
        try:
            journal = SQLiteJournal(path)
            await journal.append("run", 0, [opened()])
        finally:
            os.umask(mask)
        files = sorted(path.parent.iterdir())
        assert [each.name for each in files] == ["journal.db", "journal.db-shm", "journal.db-wal"]
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
        await journal.aclose()
        assert [each.name for each in path.parent.iterdir()] == ["journal.db"]

    async def test_each_append_is_on_the_disk(self, tmp_path: Path) -> None:
        journal = SQLiteJournal(tmp_path / "journal.db")
        found = await journal._run(
            lambda connection: [
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
            ]
        )
        assert found == ["wal", 2]
        await journal.aclose()

    async def test_it_shares_a_file_with_a_checkpointer(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoints.db"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            saver.setup()
            path.chmod(0o640)
            journal = SQLiteJournal(path)
            await journal.append("run", 0, [opened()])
            assert list(saver.list(None)) == []
            tables = [name for (name,) in saver.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            await journal.aclose()
        ours = {name for name in tables if name.startswith("codemode_")}
        assert set(tables) - ours == {"checkpoints", "writes", "sqlite_sequence"}
        assert ours == {"codemode_schema", "codemode_runs", "codemode_batches", "codemode_values", "codemode_notes"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    async def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("not a database\n" * 100)
        journal = SQLiteJournal(path)
        with pytest.raises(
            JournalError, match=r"notes.txt cannot be used: it is not a SQLite database; name another file$"
        ):
            await journal.append("run", 0, [opened()])
        assert path.read_text() == "not a database\n" * 100
        await journal.aclose()

    async def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        journal = SQLiteJournal(tmp_path)
        with pytest.raises(JournalError, match="cannot be used: it cannot be opened; name a file in a folder"):
            await journal.runs()
        await journal.aclose()

    async def test_a_file_in_place_of_its_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        journal = SQLiteJournal(tmp_path / "file" / "journal.db")
        with pytest.raises(JournalError, match=r"cannot be used: (File exists|Not a directory)"):
            await journal.runs()
        await journal.aclose()

    def test_memory_is_another_journal(self) -> None:
        with pytest.raises(ValueError, match="MemoryJournal"):
            SQLiteJournal(":memory:")

    async def test_a_lock_that_others_hold_for_too_long_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"
        journal = SQLiteJournal(path, timeout=0.05)
        await journal.append("run", 0, [opened()])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match=r"another program has locked it for 0.05 seconds$"):
                await journal.append("run", 1, renewals(1))
            assert len(await journal.read("run")) == 1
            other.execute("COMMIT")
        assert await journal.append("run", 1, renewals(1)) == 2
        await journal.aclose()

    def test_a_file_that_must_not_be_written_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"

        async def begin() -> None:
            journal = SQLiteJournal(path)
            await journal.append("run", 0, [opened()])
            await journal.aclose()

        asyncio.run(begin())
        program = (
            "import asyncio, os, sys\n"
            "from codemode_graph.calls.journal import JournalError\n"
            "from codemode_graph.calls.log import Renewed\n"
            "from codemode_graph.calls.sqlite import SQLiteJournal\n"
            "async def main():\n"
            "    await SQLiteJournal(sys.argv[1]).append('run', 1, [Renewed(owner='o', until=1.0)])\n"
            "if os.geteuid() == 0:\n"
            "    os.seteuid(65534)\n"
            "try:\n"
            "    asyncio.run(main())\n"
            "except JournalError as error:\n"
            "    print(error)\n"
        )
        path.chmod(0o444)
        for folder in [tmp_path, *(each for each in tmp_path.parents if each.name.startswith(("popen-", "pytest-")))]:
            folder.chmod(0o555 if folder == tmp_path else 0o755)
        try:
            command = [sys.executable, "-c", program, str(path)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        finally:
            tmp_path.chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(
            "journal.db cannot be used: it must not be written to; allow that, or name another file"
        )

    async def test_a_full_disk_is_an_error_and_nothing_is_half_appended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with full_disk(tmp_path, monkeypatch) as folder:
            journal = SQLiteJournal(folder / "journal.db")
            large: list[Event] = [Done(call=0, time=1.0, value="x" * 20_000)]
            known = await journal.append("run", 0, [opened()])
            error: JournalError | None = None
            while error is None:
                assert known < 200
                try:
                    known = await journal.append("run", known, large)
                except JournalError as fault:
                    error = fault
            assert str(error).endswith("journal.db cannot be used: there is no space left on its disk; free some")
            assert known > 1
            assert len(await journal.read("run")) == known == (await journal.runs())[0].length
            # Others that wait at the same time are not held up by the one that does not fit.
            outcomes = await asyncio.gather(
                journal.append("run", known, large * 10),
                journal.append("run", known + 1, renewals(1)),
                journal.read("run"),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [JournalError, Conflict, list]
            # To delete needs some space too: the log grows before the file has room.
            clear(folder, "ballast")
            await journal.delete("run")
            assert await journal.append("run", 0, [opened()]) == 1
            await journal.aclose()

    async def test_a_file_that_is_removed_under_it_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"
        journal = SQLiteJournal(path)
        await journal.append("run", 0, [opened()])
        clear(tmp_path)
        with pytest.raises(JournalError, match="was removed or replaced"):
            await journal.append("run", 1, renewals(1))
        assert await journal.append("run", 0, [opened()]) == 1
        await journal.aclose()

    async def test_one_of_a_group_that_fails_leaves_the_others(self, tmp_path: Path) -> None:
        journal = SQLiteJournal(tmp_path / "journal.db")
        await journal.append("run", 0, [opened()])
        held = threading.Event()

        def fail(connection: sqlite3.Connection) -> None:
            raise RuntimeError("a fault")

        blocked = asyncio.create_task(journal._run(lambda connection: held.wait(10)))
        await asyncio.sleep(0.05)
        waiting = [
            asyncio.create_task(journal.append("run", 1, renewals(1))),
            asyncio.create_task(journal._run(fail, writes=True)),
            asyncio.create_task(journal.append("another", 0, [opened()])),
            asyncio.create_task(journal.append("run", 1, renewals(1))),
        ]
        await asyncio.sleep(0)
        held.set()
        await blocked
        won, failed, other, lost = await asyncio.gather(*waiting, return_exceptions=True)
        assert (won, other) == (2, 1)
        assert isinstance(failed, RuntimeError)
        assert isinstance(lost, Conflict)
        assert len(await journal.read("run")) == 2
        await journal.aclose()


def clear(folder: Path, name: str = "*") -> None:
    for each in folder.glob(name):
        each.unlink()


@contextlib.contextmanager
def full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small file system of its own; where none can be mounted, files that SQLite does not let grow."""
    mounted = folder / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        try:
            (mounted / "ballast").write_bytes(bytes(1_500_000))
            yield mounted
        finally:
            subprocess.run(["umount", str(mounted)], check=True)
        return
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    yield mounted


class TestPostgres:
    async def test_lost_connections_are_opened_again(self, postgres: Any) -> None:
        url = postgres.create()
        journal = PostgresJournal(url)
        known = await journal.append("run", 0, [opened()])
        for _ in range(3):
            kill_connections(url)
            known = await journal.append("run", known, renewals(known))
            kill_connections(url)
            assert len(await journal.read("run")) == known
        await journal.aclose()

    @pytest.mark.parametrize("committed", [True, False])
    async def test_an_append_whose_connection_is_lost_is_looked_up(
        self, postgres: Any, monkeypatch: pytest.MonkeyPatch, committed: bool
    ) -> None:
        url = postgres.create()
        journal = PostgresJournal(url)
        await journal.append("run", 0, [opened()])
        execute = psycopg.Connection.execute
        lost: list[str] = []

        def lose(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            if "codemode_batches (run" not in str(query) or lost:
                return execute(self, query, *arguments, **options)
            lost.append("once")
            if committed:
                execute(self, query, *arguments, **options)
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection was lost")

        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "execute", lose)
            assert await journal.append("run", 1, renewals(7)) == 2
        assert lost
        assert await journal.read("run") == [opened(), *renewals(7)]
        await journal.aclose()

    async def test_an_equal_append_of_another_is_not_taken_for_ones_own(
        self, postgres: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = postgres.create()
        journal, other = PostgresJournal(url), PostgresJournal(url)
        await journal.append("run", 0, [opened()])
        execute = psycopg.Connection.execute
        lost: list[str] = []

        def lose(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            if "codemode_batches (run" not in str(query) or lost:
                return execute(self, query, *arguments, **options)
            lost.append("once")
            asyncio.run(other.append("run", 1, renewals(7)))
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection was lost")

        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "execute", lose)
            with pytest.raises(Conflict):
                await journal.append("run", 1, renewals(7))
        assert await journal.read("run") == [opened(), *renewals(7)]
        await journal.aclose()
        await other.aclose()

    async def test_a_server_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        journal = PostgresJournal(f"postgresql://postgres@/none?host={tmp_path}")
        with pytest.raises(JournalError, match=r"the journal in PostgreSQL cannot be used: connection.* failed"):
            await journal.read("run")
        await journal.aclose()

    async def test_commits_wait_for_the_disk_where_the_server_does_not(self, postgres: Any) -> None:
        url = (
            postgres.create()
            + "&options=-c%20synchronous_commit%3Doff%20-c%20default_transaction_isolation%3Dserializable"
        )
        journal = PostgresJournal(url)
        names = ("synchronous_commit", "transaction_isolation")
        found = await journal._run(
            lambda connection: [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]
        )
        assert found == ["on", "read committed"]
        await journal.aclose()

    async def test_an_address_may_change(self, postgres: Any) -> None:
        url = postgres.create()
        asked: list[str] = []

        def conninfo() -> str:
            asked.append(url)
            return asked[-1]

        journal = PostgresJournal(conninfo)
        await journal.append("run", 0, [opened()])
        kill_connections(url)
        await journal.append("run", 1, renewals(1))
        assert len(asked) == 2
        await journal.aclose()

    def test_without_psycopg_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(JournalError, match=r"pip install 'codemode-graph\[postgres\]'"):
            PostgresJournal("postgresql:///x")

    async def test_many_who_open_an_empty_database_at_once_make_the_tables_once(self, postgres: Any) -> None:
        url = postgres.create()
        journals = [PostgresJournal(url) for _ in range(6)]
        done = await asyncio.gather(
            *(each.append(f"run {number}", 0, [opened()]) for number, each in enumerate(journals))
        )
        assert done == [1] * 6
        for each in journals:
            await each.aclose()


def kill_connections(url: str) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)
        while connection.execute(query).fetchall():
            time.sleep(0.01)


class TestStore:
    async def test_memory_is_not_durable(self, tmp_path: Path) -> None:
        assert not StoreJournal(InMemoryStore()).durable
        assert not StoreJournal(InMemoryStore()).fenced
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.db")) as store:
            assert StoreJournal(store).durable

    async def test_a_store_on_disk_keeps_it(self, tmp_path: Path) -> None:
        path = str(tmp_path / "store.db")
        async with AsyncSqliteStore.from_conn_string(path) as store:
            await store.setup()
            journal = StoreJournal(store)
            known = await journal.append(ODD, 0, [opened()])
            for _ in range(120):  # more than are asked for at a time
                known = await journal.append(ODD, known, renewals(1, 2))
            hash = await journal.keep(ODD, ODD)
        async with AsyncSqliteStore.from_conn_string(path) as store:
            journal = StoreJournal(store)
            assert len(await journal.read(ODD)) == known == 241
            assert len(await journal.read(ODD, 200)) == 41
            assert await journal.load(ODD, hash) == ODD
            assert [info.run for info in await journal.find("thread", "space", "digest")] == [ODD]
            assert [info.length for info in await journal.runs()] == [241]
            await journal.delete(ODD)
            assert await store.asearch(("codemode_journal",)) == []

    async def test_two_processes_that_write_at_one_time_leave_a_run_that_goes_on(self) -> None:
        """It is not fenced: one of the two is lost. The run can still be read and appended to."""
        for key in (f"{2:010d}", "info"):  # of each item, either process's may be the last that was written
            ours, theirs = InMemoryStore(), InMemoryStore()
            for store, more in ((ours, renewals(1)), (theirs, renewals(2, 3))):
                await StoreJournal(store).append("run", 0, [opened()])
                await StoreJournal(store).append("run", 1, more)
            items = await theirs.asearch(("codemode_journal", "run"), limit=100)
            (item,) = [item for item in items if item.key == key]
            await ours.aput(item.namespace, item.key, item.value)
            journal = StoreJournal(ours)
            events = await journal.read("run")
            assert len(events) == (3 if key != "info" else 2)
            assert await journal.append("run", len(events), renewals(9)) == len(events) + 1
            assert await journal.read("run") == [*events, *renewals(9)]

    async def test_a_store_that_fails_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = InMemoryStore()

        async def abatch(ops: Any) -> Any:
            raise OSError("no connection")

        monkeypatch.setattr(InMemoryStore, "abatch", lambda self, ops: abatch(ops))
        with pytest.raises(JournalError, match="the journal's InMemoryStore cannot be used: no connection"):
            await StoreJournal(store).append("run", 0, [opened()])
