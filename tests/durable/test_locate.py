"""The journal beside a checkpointer: in the same database, one for all."""

import gc
import sqlite3
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from codemode_graph.calls.journal import JournalError
from codemode_graph.calls.locate import journal_beside
from codemode_graph.calls.log import Opened
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from tests.durable.postgres import Server


async def test_beside_sqlite_it_is_in_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoints.db"
    monkeypatch.chdir(tmp_path)
    with SqliteSaver.from_conn_string("checkpoints.db") as saver:
        monkeypatch.chdir("/")
        journal = journal_beside(saver)
        assert isinstance(journal, SQLiteJournal)
        assert journal.path == path
        assert journal_beside(saver) is journal
        async with AsyncSqliteSaver.from_conn_string(str(path)) as other:
            assert journal_beside(other) is journal
        await journal.append("run", 0, [Opened()])
        assert saver.conn.execute("SELECT length FROM codemode_runs").fetchall() == [(1,)]
        await journal.aclose()


async def test_beside_a_subclass_with_another_row_factory(tmp_path: Path) -> None:
    class Saver(SqliteSaver):
        pass

    connection = sqlite3.connect(tmp_path / "file.db", check_same_thread=False)
    connection.row_factory = sqlite3.Row
    assert isinstance(journal_beside(Saver(connection)), SQLiteJournal)
    connection.close()


async def test_beside_no_file_there_is_none(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(":memory:") as saver:
        assert journal_beside(saver) is None
    async with AsyncSqliteSaver.from_conn_string(":memory:") as other:
        assert journal_beside(other) is None
    assert journal_beside(InMemorySaver()) is None
    assert journal_beside(None) is None
    assert journal_beside(True) is None


async def test_a_connection_that_is_not_open_is_an_error(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "a.db")) as saver:
        pass
    with pytest.raises(JournalError, match="connection to SQLite cannot be used: Cannot operate on a closed"):
        journal_beside(saver)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "a.db")) as other:
        pass
    with pytest.raises(JournalError, match="connection to SQLite cannot be used: it is not open"):
        journal_beside(other)


async def test_it_lives_as_long_as_a_checkpointer(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # earlier tests of this process may have journals still
    with SqliteSaver.from_conn_string(str(tmp_path / "a.db")) as saver:
        journal = journal_beside(saver)
        assert journal is not None
        await journal.append("run", 0, [Opened()])
        (thread,) = [each for each in set(threading.enumerate()) - others if each.name == "codemode-journal"]
        del journal
        gc.collect()
        again = journal_beside(saver)
        assert again is not None
        assert len(await again.read("run")) == 1
        assert thread.is_alive()
    del saver, again
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.create().replace("postgres@", "postgres:secret@")


async def test_beside_postgres_it_is_in_the_same_database(url: str) -> None:
    pool: Any
    with PostgresSaver.from_conn_string(url) as saver:
        await check(saver, url)
    async with AsyncPostgresSaver.from_conn_string(url) as other:
        await check(other, url)
    with ConnectionPool(url, kwargs={"autocommit": True, "application_name": "mine"}, min_size=1, open=True) as pool:
        await check(PostgresSaver(pool), url, application_name="mine")
    async with AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=1, open=False) as pool:
        await check(AsyncPostgresSaver(pool), url)
    with ConnectionPool(lambda: url, min_size=1, open=True) as pool:
        await check(PostgresSaver(pool), url)


async def check(saver: Any, url: str, **more: str) -> None:
    journal = journal_beside(saver)
    assert isinstance(journal, PostgresJournal)
    assert journal_beside(saver) is journal
    name = f"run {type(saver).__name__} {type(saver.conn).__name__} {uuid.uuid4().hex}"
    await journal.append(name, 0, [Opened()])
    found = await journal._run(
        lambda connection: (connection.info.get_parameters(), connection.info.password, connection.info.dbname)
    )
    wanted = conninfo_to_dict(url)
    assert found[1:] == ("secret", wanted["dbname"])
    assert found[0]["host"] == wanted["host"]
    assert more.items() <= found[0].items()
    await journal.aclose()


async def test_two_checkpointers_of_a_database_share_it(url: str) -> None:
    with PostgresSaver.from_conn_string(url) as one, PostgresSaver.from_conn_string(url) as other:
        assert journal_beside(one) is journal_beside(other)


async def test_a_pool_whose_address_is_a_coroutine_has_none(url: str) -> None:
    async def conninfo() -> str:
        return url

    pool: Any = AsyncConnectionPool(conninfo, open=False)
    assert journal_beside(AsyncPostgresSaver(pool)) is None


async def test_a_closed_connection_to_postgres_is_an_error(url: str) -> None:
    with PostgresSaver.from_conn_string(url) as saver:
        pass
    with pytest.raises(JournalError, match="connection to PostgreSQL cannot be used"):
        journal_beside(saver)


def test_no_library_is_imported_for_a_checkpointer_of_another() -> None:
    program = (
        "import sys\n"
        "from langgraph.checkpoint.memory import InMemorySaver\n"
        "from codemode_graph.calls.locate import journal_beside\n"
        "assert journal_beside(InMemorySaver()) is None\n"
        "print({'psycopg', 'aiosqlite', 'langgraph.checkpoint.sqlite'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_psycopg_tells_all_but_the_password_at_once(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert "password" not in connection.info.get_parameters()
