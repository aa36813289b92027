"""The README of the sandboxes is true."""

import re
import subprocess
import sys
from pathlib import Path

import codemode_sandboxes
import pytest

README = Path(codemode_sandboxes.__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_its_programs_run_and_print_what_they_say(code: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", code)


def test_the_distribution_holds_the_license_of_the_repository() -> None:
    assert README.with_name("LICENSE").read_text() == (README.parents[1] / "LICENSE").read_text()
