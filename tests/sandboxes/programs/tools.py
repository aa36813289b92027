"""Calls of tools."""

from tests.sandboxes.programs.case import case

TEXT = 'añ€😀\n"\\' * 1000

TOOLS = (
    case("by item", "await tools['double'](2)", 4, calls=["double(2)"]),
    case("by attribute", "await tools.double(2)", 4, calls=["double(2)"]),
    case(
        "a name with a hyphen, by item",
        "await tools['list-events'](limit=1)",
        ["Standup"],
        calls=["list-events(limit=1)"],
    ),
    case(
        "a name with a hyphen, by attribute",
        "await tools.list_events(limit=1)",
        ["Standup"],
        calls=["list-events(limit=1)"],
    ),
    case("no arguments", "await tools.nothing()", None, calls=["nothing()"]),
    case(
        "positional and keyword arguments",
        "await tools.echo(1, 'two', three=[3], four=None)",
        [[1, "two"], {"three": [3], "four": None}],
        calls=["echo(1, 'two', three=[3], four=None)"],
    ),
    case(
        "unpacked arguments",
        "args, kwargs = [1, 2], {'a': 3}\nawait tools.echo(*args, 9, **kwargs, b=True)",
        [[1, 2, 9], {"a": 3, "b": True}],
        calls=["echo(1, 2, 9, a=3, b=True)"],
    ),
    case(
        "arguments of every JSON type",
        "await tools.echo(None, True, -1, 1.5, 'é', [1, [2]], {'a': {'b': []}})",
        [[None, True, -1, 1.5, "é", [1, [2]], {"a": {"b": []}}], {}],
        calls=["echo(None, True, -1, 1.5, 'é', [1, [2]], {'a': {'b': []}})"],
    ),
    case(
        "arguments that become JSON",
        """
        import datetime
        await tools.echo((1, 2), {3}, datetime.date(2026, 3, 1), {1: 'one'})
        """,
        [[[1, 2], [3], "2026-03-01", {"1": "one"}], {}],
        calls=["echo([1, 2], [3], '2026-03-01', {'1': 'one'})"],
    ),
    case(
        "a tool in a variable",
        "f = tools['double']\ng = tools.double\n[await f(1), await g(2)]",
        [2, 4],
        calls=["double(1)", "double(2)"],
    ),
    case(
        "a tool by a name that is computed",
        "[await tools[name](3) for name in ('double', 'negate')]",
        [6, -3],
        calls=["double(3)", "negate(3)"],
    ),
    case("which tools there are", "'double' in tools, 'triple' in tools, sorted(tools)[0]", [True, False, "broken"]),
    case(
        "all pages",
        """
        items, cursor = [], None
        while True:
            page = await tools.page(cursor=cursor)
            items += page["items"]
            if (cursor := page["next"]) is None:
                break
        items
        """,
        ["a", "b", "c", "d", "e"],
        calls=["page(cursor=None)", "page(cursor=2)", "page(cursor=4)"],
    ),
    case(
        "one call feeds the next",
        """
        users = await tools.users()
        oldest = max(users, key=lambda user: user["age"])
        await tools.echo(oldest["name"], team=oldest["team"])
        """,
        [["Cat"], {"team": "ops"}],
        calls=["users()", "echo('Cat', team='ops')"],
    ),
    case(
        "a loop of calls with a condition",
        """
        found = []
        for user in await tools.users():
            if user["team"] == "eng":
                found.append((user["name"], await tools.double(user["age"])))
        dict(found)
        """,
        {"Ann": 62, "Bob": 90},
        calls=["users()", "double(31)", "double(45)"],
    ),
    case(
        "a table of results",
        """
        by_team = {}
        for user in await tools.users():
            by_team.setdefault(user["team"], []).append(user["name"])
        for team in sorted(by_team):
            print(f"{team:<4}|{', '.join(by_team[team]):>9}|{len(by_team[team])}")
        by_team
        """,
        {"eng": ["Ann", "Bob"], "ops": ["Cat"]},
        stdout="eng | Ann, Bob|2\nops |      Cat|1\n",
        calls=["users()"],
    ),
    case(
        "an error of a tool that is caught",
        """
        try:
            await tools.broken("ValueError", "no such calendar")
        except ValueError as error:
            said = f"{type(error).__name__}: {error}"
        said
        """,
        "ValueError: no such calendar",
        calls=["broken('ValueError', 'no such calendar')"],
    ),
    case(
        "errors of tools by their types",
        """
        said = []
        for name in ("KeyError", "PermissionError", "TimeoutError", "OurOwnError", "LookupError"):
            try:
                await tools.broken(name, "no")
            except PermissionError:
                said.append("permission")
            except (KeyError, TimeoutError) as error:
                said.append(type(error).__name__)
            except LookupError:
                said.append("lookup")
            except Exception as error:
                said.append(f"other {error}")
        said
        """,
        ["KeyError", "permission", "TimeoutError", "other no", "lookup"],
        calls=[
            f"broken('{name}', 'no')"
            for name in ("KeyError", "PermissionError", "TimeoutError", "OurOwnError", "LookupError")
        ],
    ),
    case(
        "try again",
        """
        for attempt in range(5):
            try:
                result = await tools.flaky()
                break
            except RuntimeError as error:
                print(f"attempt {attempt}: {error}")
        else:
            result = None
        result, attempt
        """,
        ["done", 2],
        stdout="attempt 0: try again\nattempt 1: try again\n",
        calls=["flaky()"] * 3,
    ),
    case(
        "finally after a call that failed",
        """
        steps = []
        try:
            try:
                steps.append(await tools.double(1))
                await tools.broken("ValueError", "no")
            finally:
                steps.append(await tools.double(2))
        except ValueError:
            steps.append("caught")
        steps
        """,
        [2, 4, "caught"],
        calls=["double(1)", "broken('ValueError', 'no')", "double(2)"],
    ),
    case(
        "an unknown tool by item, caught",
        """
        try:
            await tools["dubble"](1)
        except KeyError as error:
            said = str(error)
        "dubble" in said and "double" in said
        """,
        True,
    ),
    case(
        "an unknown tool by attribute, caught",
        """
        try:
            await tools.nothing_of_this_name(1)
        except AttributeError:
            said = "there is none"
        said
        """,
        "there is none",
    ),
    case(
        "an argument that is not JSON",
        """
        try:
            await tools.echo(lambda: 1)
        except TypeError as error:
            said = str(error).startswith("arguments of 'echo': ")
        said
        """,
        True,
    ),
    case(
        "an integer of thousands of digits",
        """
        try:
            await tools.echo([10 ** 5000])
        except ValueError as error:
            said = str(error).startswith("arguments of 'echo': an integer ")
        said
        """,
        True,
    ),
    case(
        "an answer that is changed",
        """
        events = await tools["list-events"]()
        events.append("Lunch")
        events[0] = events[0].upper()
        events
        """,
        ["STANDUP", "Review", "Demo", "Lunch"],
        calls=["list-events()"],
    ),
    case(
        "what is put is got",
        """
        await tools.put(key="a", value={"n": [1, 2]})
        before = await tools.fetch(key="b")
        [(await tools.fetch(key="a"))["n"], before]
        """,
        [[1, 2], None],
        calls=["put(key='a', value={'n': [1, 2]})", "fetch(key='b')", "fetch(key='a')"],
    ),
    case(
        "a call in a default, in a subscript, in a condition and in an f-string",
        """
        names = await tools["list-events"]()
        x = names[await tools.double(1)] if await tools.double(1) == 2 else None
        f"{x} and {await tools.double(5)}"
        """,
        "Demo and 10",
        calls=["list-events()", "double(1)", "double(1)", "double(5)"],
    ),
    case(
        "a call from a nested function",
        """
        async def outer(n):
            async def inner(m):
                return await tools.double(m + n)
            return await inner(1)
        await outer(2)
        """,
        6,
        calls=["double(3)"],
    ),
    case(
        "recursion with calls",
        """
        async def power(n):
            if n == 0:
                return 1
            return await tools.double(await power(n - 1))
        await power(5)
        """,
        32,
        calls=[f"double({2**n})" for n in range(5)],
    ),
    case(
        "a thousand characters there and back",
        "text = 'añ€😀\\n\"\\\\' * 1000\n(await tools.echo(text))[0][0] == text",
        True,
        calls=[f"echo({TEXT!r})"],
    ),
)
