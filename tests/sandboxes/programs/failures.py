"""Programs that fail, and where."""

from tests.sandboxes.programs.case import case

FAILURES = (
    case("division by zero", "x = 1\ny = x / 0\ny", error=("ZeroDivisionError", 2)),
    case("a missing key", "d = {'a': 1}\n\nd['b']", error=("KeyError", 3)),
    case("an index out of range", "x = [1]\nfor i in range(3):\n    x[i]", error=("IndexError", 3)),
    case("an unknown name", "total = 1\ntotl + 1", error=("NameError", 2)),
    case("an unknown attribute", "x = 'text'\nx.nothing()", error=("AttributeError", 2)),
    case("types that do not fit", "a = 1\nb = '2'\nc = a + b", error=("TypeError", 3)),
    case("an argument too few", "def f(a, b):\n    return a\nf(1)", error=("TypeError", 3)),
    case("a number that is none", "int('twelve')", error=("ValueError", 1)),
    case(
        "an exception of its own making",
        "def check(n):\n    if n > 1:\n        raise ValueError(f'{n} is too many')\n    return n\ncheck(1)\ncheck(2)",
        error=("ValueError", 3),
    ),
    case(
        "an error in a nested function",
        "def outer():\n    def inner(x):\n        return 1 / x\n    return inner(0)\n\nouter()",
        error=("ZeroDivisionError", 3),
    ),
    case(
        "an error in a comprehension",
        "rows = [{'n': 1}, {}]\n[\n    row['n']\n    for row in rows\n]",
        error=("KeyError", 3),
    ),
    case(
        "an error after prints",
        "print('one')\nprint('two')\nraise RuntimeError('stop')",
        stdout="one\ntwo\n",
        error=("RuntimeError", 3),
    ),
    case(
        "an error after calls",
        "x = await tools.double(1)\ny = await tools.double(x)\nraise ValueError(f'{y} is wrong')",
        calls=["double(1)", "double(2)"],
        error=("ValueError", 3),
    ),
    case(
        "an error of a tool",
        "x = 1\nawait tools.broken('PermissionError', 'not yours')",
        calls=["broken('PermissionError', 'not yours')"],
        error=("PermissionError", 2),
    ),
    case(
        "an error of a tool in a gather",
        "import asyncio\nasync def one(n):\n    return await tools.broken('LookupError', str(n))\nawait asyncio.gather(one(1), one(2))",
        calls=["broken('LookupError', '1')", "broken('LookupError', '2')"],
        error=("LookupError", 3),
    ),
    case(
        "an error in main",
        "async def main():\n    data = await tools.users()\n    return data['name']\n",
        calls=["users()"],
        error=("TypeError", 3),
    ),
    case(
        "a wrong key in an answer",
        "users = await tools.users()\nfor user in users:\n    print(user['email'])",
        calls=["users()"],
        error=("KeyError", 3),
    ),
    case("endless recursion", "def f(n):\n    return f(n + 1)\nf(0)", error=("RecursionError", 2)),
    case("no Python", "def f(:\n    pass", error=("SyntaxError", 1), kind="syntax"),
    case("a bracket that is not closed", "x = 1\ny = (1,\nz = 2", error=("SyntaxError", 2), kind="syntax"),
    case("a value that is not JSON", "x = 1\nlambda: x", error=("TypeError", 2)),
    case("a key that is a tuple", "x = {(1, 2): 3}\nx", error=("TypeError", 2)),
    case("an unknown tool", "x = 1\nawait tools.dubble(2)", error=("AttributeError", 2)),
    case("an unknown tool by item", "await tools['dubble'](2)", error=("KeyError", 1)),
    case("an assertion", "x = 3\nassert x < 3, 'x is too large'", error=("AssertionError", 2)),
    case(
        "a None where a value should be",
        "x = await tools.nothing()\nx['name']",
        calls=["nothing()"],
        error=("TypeError", 2),
    ),
    case("a module that is not there", "import a_module_of_nobody\n1", error=("ModuleNotFoundError", 1)),
    case("a name that a module has not", "from math import squareroot\n1", error=("ImportError", 1)),
)
