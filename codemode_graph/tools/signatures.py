"""Tools as Python sees them: arguments, result, and one name for each type, the same in stubs and in cards."""

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from codemode_graph.tools.annotations import UNKNOWN, Record, Shape, record_names, records_in
from codemode_graph.tools.document import Document
from codemode_graph.tools.reader import Reader, camel
from codemode_graph.tools.schema import Parameter, Parameters
from codemode_graph.tools.spec import ToolSpec

__all__ = ["Signature", "Signatures"]

_RESERVED = frozenset(dir(builtins)) | {
    *("Any", "Iterator", "List", "Literal", "Mapping", "NotRequired", "Protocol", "TypedDict", "TypeVar"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One tool's signature.

    Attributes:
        tool: The tool.
        parameters: Its arguments, in order.
        arguments: The shape of each argument's values, by the argument's name.
        result: The shape of what it returns, or None where that is not known.
    """

    tool: ToolSpec
    parameters: Parameters
    arguments: Mapping[str, Shape]
    result: Shape | None

    def shape_of(self, parameter: Parameter) -> Shape:
        """Give the shape of an argument's values."""
        return self.arguments[parameter.name]


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures of all tools of a run, and the names of the types in them.

    Attributes:
        tools: One signature a tool; of several tools of the same name, the first.
        names: A name for every record; equal types share one.
    """

    tools: tuple[Signature, ...]
    names: Mapping[Record, str] = field(default_factory=dict)

    @classmethod
    def of(cls, specs: Iterable[ToolSpec]) -> "Signatures":
        """Read the signatures of tools."""
        tools = tuple(_signature(spec) for spec in {spec.name: spec for spec in reversed(list(specs))}.values())[::-1]
        results = [signature.result for signature in tools if signature.result is not None]
        arguments = [shape for signature in tools for shape in signature.arguments.values()]
        # Results first: theirs are the names that a checker's messages use.
        return cls(tools, record_names([*records_in(results), *records_in(arguments)], _RESERVED))


def _signature(spec: ToolSpec) -> Signature:
    parameters = Parameters(spec.input_schema)
    reader, name = Reader(parameters.document), camel(spec.name)
    arguments = {item.name: reader.shape(item.schema, camel(item.name) or "Argument") for item in parameters}
    result: Shape | None = None
    if spec.output_schema is not None:
        result = Reader(Document(spec.output_schema)).shape(spec.output_schema, f"{name}Result")
    return Signature(
        tool=spec, parameters=parameters, arguments=arguments, result=None if result == UNKNOWN else result
    )
