"""Schemas and names that mean harm, or make no sense."""

from typing import Any

from hypothesis import strategies as st

DOUBLING: dict[str, Any] = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)},
    "$ref": "#/$defs/d0",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["object", "array", "#", "#/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keywords = st.sampled_from(
    [
        *("type", "properties", "required", "$ref", "$defs", "allOf", "anyOf", "oneOf", "items", "prefixItems", "enum"),
        *("const", "default", "nullable", "title", "description", "additionalProperties", "patternProperties"),
        *("format", "minItems", "maxItems"),
    ]
)
schemas = st.recursive(
    json_values,
    lambda inner: st.dictionaries(keywords | st.text(max_size=3), inner | st.lists(inner, max_size=3), max_size=5),
    max_leaves=12,
)
names = st.text(max_size=8) | st.sampled_from(
    [
        "class",
        "self",
        "kwargs",
        "str",
        "List",
        "Any",
        "tools",
        "__x",
        "a\0b",
        "\ud800",
        '"""',
        "'",
        "\\",
        "\n",
        "é",
        "ﬁ",
    ]
)
