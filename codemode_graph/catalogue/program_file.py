"""A saved program, and the file that it is kept in: Python that a person can read, with a header of JSON.

# /// codemode
# {
#   "description": "Count the open issues of a repository.",
#   "parameters": {"type": "object", "properties": {"repository": {"type": "string"}}, "required": ["repository"]},
#   "tools": {"list_issues": "4f1c2d..."}
# }
# ///

async def count_issues(repository: str):
    ...
"""

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from langchain_core.runnables import RunnableConfig

from codemode_graph.catalogue.merge import restrict
from codemode_graph.catalogue.observation import version_of
from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.spec import Effect, ToolSpec

__all__ = ["SAVED", "SavedProgram", "check_name"]

SAVED = "saved program"
"""The source of the tool that a saved program is."""

_FILE = re.compile(r"# /// codemode\n(?P<header>(?:#.*\n)+?)# ///\n+(?P<code>async def (?P<name>\w+)\(.*)", re.DOTALL)
_EFFECTS: Sequence[Effect] = get_args(Effect)  # the weakest first


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedProgram:
    """A program that succeeded, kept under a name.

    Attributes:
        name: By which programs call it.
        description: For the model.
        parameters: JSON Schema of its arguments.
        tools: The tools that it calls, each with the version that it was checked against.
        code: Its function.
        returns: JSON Schema of what it returned, as far as that may be learned.
        run: The run that it is of.
    """

    name: str
    code: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    tools: Mapping[str, str] = field(default_factory=dict)
    returns: Mapping[str, Any] | None = None
    run: str = ""

    @classmethod
    def from_text(cls, text: str) -> "SavedProgram":
        """Return the program that a file holds.

        Raises:
            ConfigurationError: It holds none.
        """
        found = _FILE.fullmatch(text.replace("\r\n", "\n"))
        if found is None:
            raise ConfigurationError("it is no saved program: it has no header, or no function behind it")
        try:
            header = json.loads(re.sub(r"^# ?", "", found["header"], flags=re.MULTILINE))
            return cls(
                name=found["name"],
                code=found["code"].rstrip() + "\n",
                description=str(header.get("description", "")),
                parameters=dict(header["parameters"]),
                tools={str(name): str(version) for name, version in header["tools"].items()},
                returns=restrict(header["returns"]) if header.get("returns") else None,
                run=str(header.get("run", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"the header of the saved program cannot be read: {error}") from None

    def to_text(self) -> str:
        """Return the file."""
        header = {
            "description": self.description,
            "parameters": self.parameters,
            "tools": self.tools,
            "returns": self.returns,
            "run": self.run,
        }
        lines = json.dumps(header, indent=2).splitlines()
        return "\n".join(["# /// codemode", *(f"# {line}" for line in lines), "# ///", "", "", self.code])

    def missing(self, specs: Mapping[str, ToolSpec]) -> list[str]:
        """Return the tools that it calls and that are not there."""
        return [name for name in self.tools if name not in specs]

    def has_changed(self, specs: Mapping[str, ToolSpec]) -> bool:
        """Tell whether a tool that it calls says something else of itself than when the program was checked."""
        return any(name not in specs or version_of(specs[name]) != version for name, version in self.tools.items())

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the program that calls it with these arguments, JSON values.

        Raises:
            ConfigurationError: An argument has no name that a program could write, or is no JSON value.
        """
        for name, value in arguments.items():
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ConfigurationError(f"{self.name} has no argument {name!r}")
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"the argument {name!r} of {self.name} is no JSON value: {error}") from None
        listed = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"await tools[{self.name!r}]({listed})"

    def to_spec(self, specs: Mapping[str, ToolSpec]) -> ToolSpec:
        """Return it as a tool. Its effect is the strongest of the tools that it calls.

        Args:
            specs: The tools, by name, all that it calls among them.
        """
        called = [specs[name] for name in self.tools]
        effect = max((spec.effect_in_force for spec in called), key=_EFFECTS.index, default=_EFFECTS[0])
        does = f"A saved program; it calls {', '.join(self.tools) or 'no tool'}."
        return ToolSpec(
            name=self.name,
            call=_outside_a_program,
            # The first sentence is what a card always has.
            description=f"{self.description.rstrip('. ')} ({does.rstrip('.')})." if self.description else does,
            input_schema=self.parameters,
            observed_schema=self.returns,
            effect=effect,
            declared=not any(spec.undeclared for spec in called),
            source=SAVED,
            program=self.code,
        )


def check_name(name: str) -> None:
    """Raise `ConfigurationError` where a name is none that a program can call a function by."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name) or keyword.iskeyword(name):
        raise ConfigurationError(f"a saved program is named by small letters, digits and underscores, not {name!r}")


async def _outside_a_program(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    raise RuntimeError(
        "a saved program is put into the program that calls it: call it by its name, as tools.its_name(...)"
    )
