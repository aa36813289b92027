from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durable.postgres import Server, binaries, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL server: apt-get install -y postgresql")
    with server(programs) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the folder of a bank's ledger; checkpoints and store are there, or in a database of its own."""
    if request.param == "postgres":
        (tmp_path / "database").write_text(request.getfixturevalue("postgres").create())
    return tmp_path
