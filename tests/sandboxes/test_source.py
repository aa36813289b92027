import ast
from textwrap import dedent

import pytest
from codemode_sandboxes.source import parse, plain_text, to_script
from hypothesis import given
from hypothesis import strategies as st

from tests.check.harness import line_of, run

MAIN = """\
import asyncio

async def main():
    await asyncio.sleep(0)
    return {"n": 1}
"""

# Each program's value is {"n": 1}.
FORMS = {
    "async main alone": MAIN,
    "sync main alone": 'def main():\n    return {"n": 1}\n',
    "asyncio.run": MAIN + "\nasyncio.run(main())",
    "asyncio.run with debug": MAIN + "\nasyncio.run(main(), debug=False)",
    "asyncio.run over lines": MAIN + "\nasyncio.run(\n    main(),\n)\n",
    "asyncio.run in parentheses": MAIN + "\n(asyncio.run((main())))\n",
    "asyncio.run of the function": MAIN + "\nasyncio.run(main)",
    "asyncio.run unimported": 'async def main():\n    return {"n": 1}\nasyncio.run(main())',
    "asyncio.run under another name": MAIN.replace("import asyncio", "import asyncio as aio\nimport asyncio")
    + "aio.run(main())",
    "run imported": MAIN + "from asyncio import run\nrun(main())",
    "Runner": MAIN + "asyncio.Runner().run(main())",
    "a print that assigns": 'print(x := {"n": 1})',
    "asyncio.run of gather": MAIN + "asyncio.run(asyncio.gather(main()))[0]",
    "get_event_loop": MAIN + "\nasyncio.get_event_loop().run_until_complete(main())",
    "a loop": MAIN + "loop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)\nloop.run_until_complete(main())",
    "a loop closed": MAIN + "loop = asyncio.get_event_loop()\nr = loop.run_until_complete(main())\nloop.close()\n",
    "a loop closed in finally": MAIN
    + dedent("""
        loop = asyncio.get_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        """),
    "guard": MAIN + '\nif __name__ == "__main__":\n    asyncio.run(main())\n',
    "guard on one line": MAIN + "\nif '__main__' == __name__: asyncio.run(main())",
    "guard with tabs": MAIN + '\nif __name__ == "__main__":\n\tresult = asyncio.run(main())\n\tprint(result)\n',
    "guard with else": MAIN + '\nif __name__ == "__main__":\n    asyncio.run(main())\nelse:\n    pass\n',
    "guard around a string": MAIN
    + dedent("""
        if (__name__ == "__main__"):  # run it
            # a comment
            text = \"\"\"
            kept
            \"\"\"
            assert text == "\\n    kept\\n    ", text
            asyncio.run(
                main()
          )
        """),
    "guard around try": MAIN
    + dedent("""
        if __name__ == "__main__":
            try:
                result = asyncio.run(main())
                print(result)
            except KeyError as error:
                print(error)
        """),
    "printed": MAIN + "\nprint(asyncio.run(main()))",
    "printed with await": MAIN + "\nprint(await main())",
    "printed as JSON": MAIN + "import json\nprint(json.dumps(asyncio.run(main()), indent=2))",
    "printed in an f-string": MAIN + "\nprint(f'Result: {asyncio.run(main())}')",
    "printed later": MAIN + "\nresult = asyncio.run(main())\nprint(result)",
    "printed in other words": MAIN + "\nx = asyncio.run(main())\nprint('n is', x['n'])\n",
    "printed expression": "x = [1]\nprint(dict(n=x[0]))",
    "printed as JSON from a name": "import json\nx = {'n': 1}\nprint(json.dumps(x, indent=2))",
    "printed forgetfully": MAIN + "\nprint(main())",
    "a last word": MAIN + "\nasyncio.run(main())\nprint('done')\n",
    "bare call": MAIN + "\nmain()",
    "bare call, kept": MAIN + "\nresult = main()\nprint(result)",
    "bare call, indexed": MAIN + "\n{'n': main()['n']}",
    "awaited call": MAIN + "\nawait main()",
    "awaited call and comment": MAIN + "\nawait main()  # go\n# done\n",
    "task": MAIN + "\nt = asyncio.create_task(main())\nawait t",
    "sync around async": MAIN + "\ndef go():\n    return asyncio.run(main())\n\ngo()",
    "sync around sync around async": MAIN
    + "\ndef go():\n    x = asyncio.run(main())\n    return x\n\n"
    + "def every():\n    return [go() for _ in range(1)][0]\n\nprint(every())",
    "sync in a generator": MAIN + "\ndef go():\n    return asyncio.run(main())\n\nsum(go()['n'] for _ in [1]) and go()",
    "script": 'import asyncio\nawait asyncio.sleep(0)\nx = 1\n{"n": x}',
    "assignment": 'result = {"n": 1}',
    "assignment over lines": 'result = {\n    "n": 1,\n}\n',
    "annotated assignment": 'result: dict = {"n": 1}',
    "assignments": 'a = b = {"n": 1};',
    "item assignment": "result = {}\nresult['n'] = 1",
    "augmented assignment": 'result = {}\nresult |= {"n": 1}',
    "filled": "result = {}\nresult.update(n=1)",
    "if": 'if True:\n    result = {"n": 1}\nelse:\n    result = None\n',
    "if without else": 'if True:\n    found = {"n": 1}\n',
    "if after a statement": 'import math\nif True:\n    found = {"n": 1}',
    "if and elif": 'if False:\n    found = 0\nelif True:\n    found = {"n": 1}  # so',
    "try first": 'try:\n    a = {"n": 1}\nexcept KeyError:\n    a = 2\n',
    "for": "counts = {}\nfor c in 'n':\n    counts[c] = counts.get(c, 0) + 1\n",
    "for over a result": 'result = {"n": 1}\nfor key in result:\n    print(key)\n',
    "with": MAIN + "import contextlib\nwith contextlib.suppress(KeyError):\n    data = await main()\n",
    "try": MAIN + "try:\n    x = await main()\nexcept KeyError:\n    x = None\n",
    "try that awaits": MAIN + "try:\n    await main()\nexcept KeyError:\n    print('no')\n",
    "match": 'y = 1\nmatch y:\n    case 1:\n        z = {"n": y}\n    case _:\n        z = 0\n',
    "return": 'x = 1\nreturn {"n": x}',
    "return in parentheses": 'return(\n    {"n": 1}\n)',
    "return continued": 'return \\\n    {"n": 1}',
    "return with await": MAIN + "return await main()",
    "nested return": 'x = 1\nif x:\n    return {"n": x}\nreturn 0',
    "nested return, last is a block": 'import math\nx = 1\nif not x:\n    return 0\nelse:\n    return {"n": x}',
    "nested return, last is a value": '# a comment\nif not 1:\n    return 0\n{"n": 1}',
    "nested return in a loop": "for i in range(3):\n    if i == 1:\n        return {'n': i}\n",
    "nested return and a string": 'x = """\n  a\n"""\nif x != "\\n  a\\n":\n    return 0\nreturn {"n": 1}',
    "nested return and a global": dedent("""
        n = 0

        def more():
            global n
            n += 1

        more()
        if n > 1:
            return None
        return {"n": n}
        """),
    "nested return behind functions": dedent("""
        def one():
            return limit

        limit = 1
        if not one():
            return None
        return {"n": one()}
        """),
    "another name": MAIN.replace("main", "solve"),
    "another name with a helper": 'def one():\n    return 1\n\nasync def solve():\n    return {"n": one()}\n',
    "main that takes tools": 'async def main(tools):\n    return {"n": tools}',
    "main with defaults": 'async def main(n=1, *, m=2):\n    return {"n": n}',
    "future import": "from __future__ import annotations\n" + MAIN,
    "coding line": "#!/usr/bin/python\n# -*- coding: latin-1 -*-\n" + MAIN,
    "byte order mark and carriage returns": "\ufeff" + MAIN.replace("\n", "\r\n"),
    "indented": "\n    async def main():\n        return {'n': 1}\n\n    await main()\n",
    "nest_asyncio": "import nest_asyncio\nnest_asyncio.apply()\n" + MAIN + "asyncio.run(main())",
    "nest_asyncio in a list": "import json, nest_asyncio, re as r\nnest_asyncio.apply()\n"
    + MAIN
    + "asyncio.run(main())",
    "nest_asyncio tried": "try:\n    import nest_asyncio; nest_asyncio.apply()\nexcept ImportError:\n    pass\n" + MAIN,
    "non-ASCII": 'é = "日本"; result = {"n": len(é) - 1}; print(result)',
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_has_its_value(form: str) -> None:
    script = to_script(FORMS[form])
    assert await run(script.code, tools=1) == {"n": 1}, script.code
    assert to_script(script.code).code == script.code


@pytest.mark.parametrize("form", FORMS)
async def test_lines_keep_their_numbers(form: str) -> None:
    """Each statement in turn is made to raise; the script must say the line that it had."""
    original = plain_text(FORMS[form])
    for number, program in raising(original):
        script = to_script(program)
        if "every line is one further down than it was" in script.notes:
            continue
        raised = None
        try:
            await run(script.code, tools=1)
        except ZeroDivisionError as error:
            raised = line_of(error)
        assert raised in (number, None), script.code


def raising(code: str) -> list[tuple[int, str]]:
    """Yield the program once for every line on which a simple statement begins, with a division by zero put before it."""
    lines = code.split("\n")
    programs = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Expr | ast.Assign | ast.Return | ast.AugAssign):
            continue
        if not lines[node.lineno - 1][: node.col_offset].strip():
            line = lines[node.lineno - 1]
            changed = line[: node.col_offset] + "1 / 0; " + line[node.col_offset :]
            programs.append((node.lineno, "\n".join([*lines[: node.lineno - 1], changed, *lines[node.lineno :]])))
    return programs


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (MAIN + "print(asyncio.run(main()))", "{'n': 1}\n"),
        (MAIN + "result = asyncio.run(main()); print('n:', result['n'])", "n: 1\n"),
    ],
)
async def test_what_is_printed_still_is(program: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(to_script(program).code) == {"n": 1}
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "program",
    [
        "print('hello')",
        "x = 1\nprint(f'x is {x}')",
        "x = 1\nprint('x is ' + str(x))",
        "x = 1\nprint(x, 2)",
        "async def main():\n    print(1)\nawait main()",
        "def helper(x):\n    return x",
        "def a():\n    pass\n\ndef b():\n    pass\n",
        "for i in range(2):\n    print(i)",
        "import asyncio",
        "a, b = 1, 2\nif a:\n    a = 2\n    b = 3\n",
        "@cache\ndef main():\n    return 1\n",
        "async def main():\n    yield 1\n",
        "",
        "# nothing\n",
    ],
)
def test_a_program_without_a_value_is_left_alone(program: str) -> None:
    assert to_script(program).code == program


async def test_a_tuple_of_assigned_names_is_the_value() -> None:
    assert await run(to_script("a, b = 1, 2").code) == (1, 2)


def test_a_runner_stays_where_await_cannot_stand() -> None:
    program = MAIN + "rows = sorted([1], key=lambda r: asyncio.run(main())['n'])\nrows"
    assert to_script(program).code == program


@pytest.mark.parametrize(
    ("program", "notes"),
    [
        (FORMS["nest_asyncio"], ("dropped nest_asyncio: the event loop is running already",)),
        (FORMS["another name"], ("called solve()",)),
        (FORMS["for"], ("the value is counts",)),
        (
            FORMS["nested return behind functions"],
            ("put the program into a function, because it returns at its top level",),
        ),
        (
            "if 1:\n    return 2\nreturn 3",
            (
                "put the program into a function, because it returns at its top level",
                "every line is one further down than it was",
            ),
        ),
        (FORMS["guard"], ()),
    ],
)
def test_notes_tell_what_was_done(program: str, notes: tuple[str, ...]) -> None:
    assert to_script(program).notes == notes


@pytest.mark.parametrize(
    ("program", "line"),
    [("x = 1\ny = = 2", 2), ("def f(:\n  pass", 1), ("a\0b", None), ('"\ud800"', None)],
)
def test_what_is_not_python_is_a_syntax_error(program: str, line: int | None) -> None:
    with pytest.raises(SyntaxError) as caught:
        to_script(program)
    assert line is None or caught.value.lineno == line


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "a" + ".b" * 50_000,
        "1" + "+1" * 20_000,
        "if a: pass\n" + "elif a: pass\n" * 5_000,
        "9" * 10_000,
        "lambda:" * 5_000 + "1",
    ],
)
def test_hostile_nesting_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError):
        parse(text)


STATEMENTS = st.sampled_from(
    [
        *("import asyncio", "import asyncio, nest_asyncio", "from __future__ import annotations", "# note", "", "x; y"),
        *(
            "async def main():\n    return 1",
            "def f():\n    return 1",
            "def f():\n    global x\n    x += 1",
            "await f(); g()",
        ),
        *(
            "return 1",
            "if x:\n    return",
            "for i in x:\n\n    if i: return i",
            "try:\n    x\nexcept E:\n    return (\n1)",
        ),
        *("main()", "asyncio.run(main())", "x = main()", "print(x)", "print(main(), f())", "await main()", "main().x"),
        *("def f():\n    return asyncio.run(main())", "y = [f() for _ in z]", "y = sum(f() for _ in z)", "lambda: f()"),
        *(
            'if __name__ == "__main__":\n    asyncio.run(main())',
            'if __name__ == "__main__":\n    x = """\n  a\n"""; f()',
        ),
        *("loop = asyncio.get_event_loop()", "loop.run_until_complete(main())", "loop.close()", "nest_asyncio.apply()"),
        *(
            "x = 1",
            "y['a'] = 1",
            "y.append(1)",
            "a, b = x",
            "if x:\n    x = 1\nelif y:\n    x = 2",
            "with x as y:\n    y += 1",
        ),
        *("try:\n    await main()\nexcept E:\n    pass\nfinally:\n    loop.close()", "class C:\n    x = f()", "pass"),
    ]
)


@given(st.lists(STATEMENTS, max_size=8).map("\n".join))
def test_a_script_is_its_own_script_form(program: str) -> None:
    script = to_script(program)
    assert to_script(script.code).code == script.code


@given(st.text(max_size=200))
def test_any_text_is_a_script_or_a_syntax_error(text: str) -> None:
    try:
        script = to_script(text)
    except SyntaxError:
        return
    assert to_script(script.code).code == script.code


def test_a_parser_that_another_thread_disturbed_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.11.8 and 3.12.1 counts the depth of all threads' trees together."""
    times = 0

    def disturbed(code: str) -> ast.Module:
        nonlocal times
        times += 1
        if times < 4:
            raise SystemError("AST constructor recursion depth mismatch (before=60, after=33)")
        tree = compile(code, "", "exec", ast.PyCF_ONLY_AST)
        assert isinstance(tree, ast.Module)
        return tree

    monkeypatch.setattr(ast, "parse", disturbed)
    assert ast.unparse(parse("x = 1")) == "x = 1"
