import pytest
from codemode_sandboxes.source import is_same_program


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a = 1", "a = 1  # so\n\n", True),
        ("f('x')", 'f(  "x" )', True),
        ("a = 1", "a = 2", False),
        ("a = 1", "import asyncio\na = 1", True),
        ("import math\nmath.pi", "math.pi", False),
        ("import os.path as p\np", "p", False),
        ("import asyncio\nfrom math import pi\n1", "1", False),
        ("a = (", "a = (", True),
        ("a = (", "a = ( ", False),
        ("a = 1", "a = (", False),
    ],
)
def test_programs_are_compared_by_what_they_do(one: str, other: str, same: bool) -> None:
    assert is_same_program(one, other) is same
