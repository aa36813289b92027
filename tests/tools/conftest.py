from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic_monty import Monty, MontyTypingError

from codemode_graph.tools.signatures import render_stubs
from codemode_graph.tools.spec import ToolSpec

Check = Callable[[list[ToolSpec], str], str]


@pytest.fixture(scope="session")
def check() -> Iterator[Check]:
    """Type-check a program against tools, with Monty's checker: its findings, or an empty string."""
    with Monty(max_processes=1) as pool:

        def findings(specs: list[ToolSpec], program: str) -> str:
            with pool.checkout(
                type_check=True, type_check_stubs=render_stubs(specs), type_check_format="concise"
            ) as session:
                try:
                    session.feed_start(program)
                except MontyTypingError as error:
                    return error.display()
                return ""

        yield findings


@pytest.fixture
def make() -> Callable[..., ToolSpec]:
    """Make a tool that is described, and never called."""

    def make(name: str = "t", properties: Any = None, output: Any = None, **fields: Any) -> ToolSpec:
        async def call(arguments: dict[str, Any], config: Any) -> Any:
            raise AssertionError("not to be called")

        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties or {},
            "required": fields.pop("required", []),
        }
        schema |= {"$defs": fields.pop("defs")} if "defs" in fields else {}
        return ToolSpec(name=name, call=call, **{"input_schema": schema, "output_schema": output, **fields})

    return make
