"""The automatic choice of a sandbox: the cheapest that offers what a program uses, or the first that is there."""

import threading
from collections.abc import Collection, Iterable
from typing import Any, get_args
from unittest.mock import ANY

import pytest
from codemode_sandboxes import (
    AutoSandbox,
    Capabilities,
    FallbackSandbox,
    Finished,
    Gap,
    Limits,
    MockExecution,
    MockSandbox,
    NoSandboxFits,
    Program,
    Sandbox,
    SandboxUnavailable,
    UnknownSandbox,
    create_sandbox,
    resolve_sandbox,
)
from codemode_sandboxes.choice import BY_COST, find_lacks
from codemode_sandboxes.contract import Boundary, Enforced
from codemode_sandboxes.monty.dialect.change import find_classes

from tests.sandboxes.cases import fake_tools, load, needs_cases
from tests.sandboxes.driving import run

GENERATORS = Gap("generator functions", "return a list", find_classes("Yield", "YieldFrom"))
DEL = Gap("del", "use `d.pop(key)`", find_classes("Delete"))
YIELDS = "def g():\n    yield 1\nlist(g())"


class Fake(MockSandbox):
    """A backend that offers what a test says, and gives its name for every program's value."""

    def __init__(
        self,
        name: str,
        modules: Collection[str] = (),
        gaps: Iterable[Any] = (),
        *,
        boundary: Boundary = "os",
        enforces: Iterable[Enforced] = get_args(Enforced),
        absent: bool = False,
        starts: bool = True,
    ) -> None:
        super().__init__(Finished(name))
        self.name = name
        self.asked, self.absent, self.starts = 0, absent, starts
        self._offered = Capabilities(
            language=name,
            boundary=boundary,
            modules=frozenset(modules),
            gaps=tuple(gaps),
            enforces=frozenset(enforces),
        )

    @property
    def capabilities(self) -> Capabilities:
        self.asked += 1
        if self.absent:
            raise SandboxUnavailable(self.name, "it is not installed", f"Get it with `get {self.name}`")
        return self._offered

    async def start(self, program: Program, limits: Limits | None = None) -> MockExecution:
        if self.absent or not self.starts:
            raise SandboxUnavailable(self.name, "it does not start")
        return await super().start(program, limits)


def small() -> Fake:
    return Fake("small", {"json"}, [GENERATORS, DEL], boundary="interpreter")


def middle() -> Fake:
    return Fake("middle", {"json", "csv"}, [DEL])


def large() -> Fake:
    return Fake("large", {"json", "csv", "sqlite3"}, boundary="container")


async def chosen(sandbox: AutoSandbox | FallbackSandbox, code: str) -> str:
    return (await sandbox.choose(Program(code=code))).sandbox.name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("1 + 1", "small"),
        ("import json\n1", "small"),
        (YIELDS, "middle"),
        ("import csv\n1", "middle"),
        ("from csv import reader\n1", "middle"),
        ("import sqlite3\n1", "large"),
        ("x = 1\ndel x", "large"),
        ("import csv\ndel csv", "large"),
        ("try:\n    import sqlite3\nexcept ImportError:\n    pass\n1", "large"),
        ("try:\n    import winreg\nexcept ImportError:\n    pass\n1", "small"),
        ("try:\n    import nothing_of_the_kind\nexcept ImportError:\n    pass\n1", "small"),
        ("try:\n    1\nfinally:\n    import sqlite3", "large"),
        ("not python", "small"),
    ],
)
async def test_the_first_that_offers_what_a_program_uses_runs_it(code: str, name: str) -> None:
    assert await chosen(AutoSandbox([small(), middle(), large()]), code) == name


async def test_a_dearer_one_is_not_asked_before_it_is_needed() -> None:
    cheap, dear = Fake("cheap", {"json"}), large()
    auto = AutoSandbox([cheap, dear])
    assert auto.capabilities.modules == {"json"}
    assert await chosen(auto, "import json\n1") == "cheap"
    assert dear.asked == 0
    assert auto.capabilities_for("import sqlite3\n1").modules == {"json", "csv", "sqlite3"}
    assert (await chosen(auto, "import sqlite3\n1"), dear.asked, cheap.asked) == ("large", 1, 1)


async def test_only_the_first_question_goes_to_a_thread() -> None:
    auto, threads = AutoSandbox([small(), middle()]), list[int]()
    own = threading.get_ident()
    ask = auto._ask

    def noted(name: str) -> Capabilities:
        threads.append(threading.get_ident())
        return ask(name)

    auto._ask = noted  # type: ignore[method-assign]
    for _ in range(2):
        await auto.choose(Program(code="1"))
        await auto.acapabilities_for("1")
    assert own != threads[1]
    assert set(threads[-4:]) == {own}


async def test_what_is_offered_is_what_any_of_them_offers() -> None:
    auto = AutoSandbox([small(), middle(), large()])
    assert auto.capabilities.gaps == ()
    assert auto.capabilities.modules == {"json", "csv", "sqlite3"}
    assert [gap.name for gap in AutoSandbox([small(), middle()]).capabilities.gaps] == ["del"]
    assert AutoSandbox([small(), Fake("lax", enforces=["time"])], enforces=["time"]).capabilities.enforces == {"time"}


async def test_none_that_fits_says_what_each_lacks_and_how_to_get_more() -> None:
    auto = AutoSandbox([small(), Fake("absent", absent=True), middle()])
    with pytest.raises(NoSandboxFits) as raised:
        await auto.choose(Program(code=f"import csv\n{YIELDS}\ndel csv"))
    assert str(raised.value) == (
        "no sandbox runs this program: small lacks generator functions, del, the module csv; "
        "absent cannot be used: it is not installed. Get it with `get absent`; middle lacks del"
    )


async def test_one_that_is_absent_is_passed_over_and_one_that_does_not_start_too() -> None:
    absent, stuck, good = Fake("absent", absent=True), Fake("stuck", starts=False), Fake("good")
    auto = AutoSandbox([absent, stuck, good])
    for _ in range(2):
        execution = await auto.start(Program(code="1"))
        assert await execution.advance() == Finished("good")
    assert absent.asked == 1
    assert [each.name for each in (await auto.choose(Program(code="1"))).passed_over] == ["absent", "stuck"]


async def test_where_none_is_available_it_says_how_to_get_each() -> None:
    for sandbox in (
        AutoSandbox([Fake("a", absent=True), Fake("b", absent=True)]),
        FallbackSandbox(Fake("a", absent=True), Fake("b", absent=True)),
    ):
        with pytest.raises(SandboxUnavailable, match=r"`get a`; b cannot be used: it is not installed. Get it with"):
            await sandbox.start(Program(code="1"))
        with pytest.raises(SandboxUnavailable, match="`get b`"):
            _ = sandbox.capabilities


async def test_a_caller_says_what_boundary_and_what_limits_there_must_be() -> None:
    assert await chosen(AutoSandbox([small(), middle(), large()], boundary="container"), "1") == "large"
    assert await chosen(AutoSandbox([small(), middle(), large()], boundary=["os", "container"]), "1") == "middle"
    lax, bare = Fake("lax", enforces=["time"]), Fake("bare", boundary="none")
    assert await chosen(AutoSandbox([bare, lax, large()]), "1") == "large"
    assert await chosen(AutoSandbox([lax, large()], enforces=["time"]), "1") == "lax"
    assert await chosen(AutoSandbox([bare], boundary="none"), "1") == "bare"
    with pytest.raises(SandboxUnavailable, match="its boundary is 'os', and only container is allowed"):
        await chosen(AutoSandbox([middle()], boundary="container"), "1")
    with pytest.raises(ValueError, match="'vm' is no boundary"):
        AutoSandbox(boundary="vm")  # type: ignore[arg-type]


def test_the_cheapest_come_first_whatever_their_order() -> None:
    assert AutoSandbox(["pyodide-wasm", "bubblewrap", Fake("own"), "monty"]).names == (
        "monty",
        "bubblewrap",
        "pyodide",
        "own",
    )
    assert AutoSandbox().names[:2] == ("monty", "restricted")


async def test_a_fallback_is_used_only_where_the_first_is_absent() -> None:
    assert await chosen(FallbackSandbox(small(), large()), YIELDS) == "small"
    sandbox = FallbackSandbox(Fake("absent", absent=True), middle(), large())
    assert sandbox.name == "absent"
    assert sandbox.capabilities.language == "middle"
    choice = await sandbox.choose(Program(code=YIELDS))
    assert choice.sandbox.name == "middle"
    assert str(choice.passed_over[0]) == "absent cannot be used: it is not installed. Get it with `get absent`"
    assert await (await sandbox.start(Program(code="1"))).advance() == Finished("middle")


async def test_closing_closes_those_that_were_used() -> None:
    cheap = small()
    auto = AutoSandbox([cheap, large()])
    await auto.start(Program(code="1"))
    await auto.aclose()
    assert [execution.closed for execution in cheap.executions] == [True]


def test_names_and_lists_make_the_sandbox_that_is_meant() -> None:
    def names(sandbox: Sandbox) -> tuple[str, ...]:
        return sandbox.names if isinstance(sandbox, AutoSandbox | FallbackSandbox) else (sandbox.name,)

    mine = small()
    assert names(resolve_sandbox()) == BY_COST
    assert names(resolve_sandbox("monty")) == ("monty",)
    assert names(resolve_sandbox(fallback=["restricted"])) == ("monty", "restricted")
    assert resolve_sandbox(mine) is mine
    assert names(resolve_sandbox("pyodide-wasm")) == ("pyodide",)
    assert isinstance(create_sandbox("auto"), AutoSandbox)
    assert names(resolve_sandbox("auto", auto=["restricted", "monty"])) == ("monty", "restricted")
    assert names(resolve_sandbox(auto=[mine, "monty"])) == ("monty", "small")
    assert names(resolve_sandbox("nsjail", fallback=["restricted", mine])) == ("nsjail", "restricted", "small")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"sandbox": "mony"}, UnknownSandbox, "did you mean 'monty'"),
        ({"sandbox": "monty", "fallback": ["restrictet"]}, UnknownSandbox, "did you mean 'restricted'"),
        ({"auto": ["quantum"]}, UnknownSandbox, "There are: "),
        ({"sandbox": "nsjail", "auto": ["monty"]}, ValueError, "leave the other sandbox out"),
        ({"sandbox": "auto", "fallback": ["monty"]}, ValueError, "leave fallback out"),
        ({"fallback": "monty"}, ValueError, "lists of sandboxes"),
        ({"sandbox": "monty", "fallback": ["monty"]}, ValueError, "twice"),
        ({"auto": []}, ValueError, "at least one"),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        resolve_sandbox(**given)


async def test_real_backends_run_what_they_are_chosen_for() -> None:
    auto = AutoSandbox(["monty", "restricted"])
    try:
        for code, name in [("sum([1, 2])", "monty"), ("def g():\n    yield 3\nsum(g())", "restricted")]:
            assert await chosen(auto, code) == name
            execution = await auto.start(Program(code=code))
            assert await execution.advance() == Finished(3)
            await execution.aclose()
        assert find_lacks("def g():\n    yield 3", auto.capabilities) == ()
    finally:
        await auto.aclose()


@pytest.mark.slow
@needs_cases
async def test_every_ordinary_program_runs_somewhere() -> None:
    auto = AutoSandbox(["monty", "restricted"])
    try:
        used = set()
        for case in load("benign"):
            code = case["code"] + "\nawait main()"
            used.add(await chosen(auto, code))
            assert (await run(auto, code, fake_tools())).event == Finished(case["expected"], ANY)
        assert used == {"monty", "restricted"}
    finally:
        await auto.aclose()
