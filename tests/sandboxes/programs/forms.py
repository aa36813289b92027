"""The forms that a program comes in."""

from tests.sandboxes.programs.case import case

FORMS = (
    case("an expression", "6 * 7", 42),
    case("statements and an expression", "x = 6\ny = 7\nx * y", 42),
    case("no expression at the end", "x = 6\nx += 1", 7),
    case("nothing", "", None),
    case("a comment", "# nothing to do\n", None),
    case("top-level await", "await tools.double(21)", 42, calls=["double(21)"]),
    case("top-level return", "x = await tools.double(2)\nreturn x + 1", 5, calls=["double(2)"]),
    case(
        "return in a branch",
        """
        n = await tools.double(2)
        if n > 3:
            return "large"
        return "small"
        """,
        "large",
        calls=["double(2)"],
    ),
    case(
        "async main that is called",
        """
        async def main():
            return await tools.double(4)
        await main()
        """,
        8,
        calls=["double(4)"],
    ),
    case(
        "async main that is not called",
        """
        async def main():
            return await tools.double(4)
        """,
        8,
        calls=["double(4)"],
    ),
    case(
        "asyncio.run under a guard",
        """
        import asyncio

        async def main():
            result = await tools.double(4)
            print("got", result)
            return result

        if __name__ == "__main__":
            asyncio.run(main())
        """,
        8,
        stdout="got 8\n",
        calls=["double(4)"],
    ),
    case(
        "a plain main with a helper",
        """
        def helper(n):
            return n + 1

        def main():
            return helper(1)
        """,
        2,
    ),
    case("the last value is printed", "total = sum(range(5))\nprint(total)", 10, stdout="10\n"),
    case("an assignment at the end", "result = [n * n for n in range(4)]", [0, 1, 4, 9]),
    case("a docstring", '"""Add two numbers."""\na, b = 1, 2\na + b', 3),
    case("lines that end in CR LF", "x = 1\r\ny = 2\r\nx + y", 3),
    case("tabs", "def f(x):\n\tif x:\n\t\treturn 'yes'\n\treturn 'no'\n[f(1), f(0)]", ["yes", "no"]),
    case("a semicolon", "x = 1; y = 2; x + y", 3),
    case("a future import", "from __future__ import annotations\ndef f(x: int) -> int:\n    return x\nf(3)", 3),
)
