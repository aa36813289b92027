"""The line of an error that passes a `try` by, of which Monty says that its last statement raised it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from codemode_sandboxes.monty import MontySandbox
from pydantic_monty import Monty, MontyRuntimeError

from tests.sandboxes.driving import run


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox()
    yield sandbox
    await sandbox.aclose()


async def pay(*_: object) -> Any:
    raise PermissionError("not this time")


async def find(key: str) -> Any:
    raise KeyError(key)


PROGRAMS = {
    "the only statement": (
        """
def f():
    raise ValueError('x')

try:
    f()
except KeyError as error:
    print(error)
""",
        6,
    ),
    "a call among others": (
        """
done = []
for _ in range(2):
    try:
        print('now')
        done.append(await tools.pay('Ann', 5))
        break
    except TimeoutError as error:
        print(error)
""",
        6,
    ),
    "a call in the handler": (
        """
try:
    await tools.find('x')
except KeyError:
    await tools.pay()
""",
        5,
    ),
    "a KeyError of a call": (
        """
try:
    print('now')
    await tools.find('x')
except ValueError:
    pass
""",
        4,
    ),
    "one of several statements": (
        """
try:
    x = {}
    x['y']
except ValueError:
    x = 1
""",
        2,
    ),
    "the handler, perhaps": (
        """
try:
    int('x')
except TypeError:
    print({}['y'])
""",
        2,
    ),
    "with finally": (
        """
async def main():
    try:
        int('x')
    finally:
        print('end')

await main()
""",
        4,
    ),
    "with finally and a handler": (
        """
try:
    int('x')
except TypeError:
    pass
finally:
    y = 1
""",
        2,
    ),
    "in a function": (
        """
def parse(text):
    try:
        return int(text)
    except (TypeError, KeyError):
        return None

def all_of(texts):
    return [parse(text) for text in texts]

all_of(['1', 'x'])
""",
        4,
    ),
    "past two": (
        """
try:
    try:
        int('x')
    except TypeError:
        pass
except KeyError:
    pass
""",
        2,
    ),
    "the handler, in truth": (
        """
try:
    int('x')
except ValueError:
    {}['y']
""",
        2,
    ),
    "a handler's own words": (
        """
try:
    int('x')
except TypeError:
    pass
except ValueError:
    raise RuntimeError('what is this?')
""",
        7,
    ),
    "none": ("\nint('x')\n", 2),
    "after one": (
        """
try:
    x = 1
except ValueError:
    pass
int('x')
""",
        6,
    ),
    "a kind of its own": (
        """
try:
    int('x')
except LookupError:
    pass
""",
        3,
    ),
    "in a class": (
        """
class A:
    def get(self):
        try:
            return {}['x']
        except AttributeError:
            if self:
                pass
            else:
                print('no')

A().get()
""",
        5,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_line_is_the_errors_or_that_of_the_try(sandbox: MontySandbox, name: str) -> None:
    code, line = PROGRAMS[name]
    failed = (await run(sandbox, code, {"pay": pay, "find": find})).failed
    assert failed.line == line
    assert f'File "<program>", line {line}, in ' in failed.traceback.splitlines()[-3 if line else 0]


def test_monty_still_says_otherwise() -> None:
    """Fails once `origin` has nothing to do any more."""
    with Monty() as monty, monty.checkout() as session, pytest.raises(MontyRuntimeError) as caught:
        session.feed_run("try:\n    int('x')\nexcept KeyError as error:\n    print(error)")
    assert [frame.line for frame in caught.value.traceback()] == [4]
