"""The conditions of a JSON Schema beside types: formats, bounds and patterns, and which keys go together.

Everything comes out as a few words for a reader, as they stand on cards.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from codemode_graph.tools.schema import ALSO, Document, mapping_at, names_at
from codemode_graph.tools.text import one_line

# Longer patterns are no help to who writes a value, and alternatives beyond these are many more than a reader compares.
_PATTERN = 160
_BRANCHES = 40
_VALUES = 10
_SHORT_PATTERN = 40
_EXAMPLES = 2
# The ends of the integers of machines: code generators write them as bounds, and they bound nothing that is ever passed.
_MACHINE = frozenset(bound for bits in (31, 32, 53, 63, 64) for bound in (2**bits, 2**bits - 1))


def limits_of(flat: Mapping[str, Any], kind: str) -> str:
    """Return the limits on values of one type: `date-time`, `1..100`, `at most 64 characters`. Empty where there are none.

    Args:
        flat: A schema without references.
        kind: The type, as JSON Schema names it.
    """
    words: list[str] = []
    form, pattern = flat.get("format"), flat.get("pattern")
    if isinstance(form, str) and form and kind in ("string", "integer", "number", ""):
        words.append(one_line(form, 40))
    if kind in ("string", ""):
        if isinstance(encoding := flat.get("contentEncoding"), str):
            words.append(one_line(encoding, 40))
        if isinstance(media := flat.get("contentMediaType"), str):
            words.append(one_line(media, 60))
        # A long pattern beside a format says the same at length: code generators write both.
        if isinstance(pattern, str) and (not words or len(pattern) <= _SHORT_PATTERN):
            words.append(f"/{one_line(pattern, _PATTERN)}/")
        words.append(_range(flat, "minLength", "maxLength", "characters"))
    if kind in ("integer", "number", ""):
        flat = _without_draft_4(flat)
        words.append(_range(flat, "minimum", "maximum"))
        words += [f"{sign} {flat[name]}" for name, sign in (("exclusiveMinimum", ">"), ("exclusiveMaximum", "<"))
                  if _number(flat, name) is not None]  # fmt: skip
        if (step := _number(flat, "multipleOf")) not in (None, 1):
            words.append(f"multiple of {step}")
    if kind in ("array", ""):
        words.append(_range(flat, "minItems", "maxItems", "items"))
        if flat.get("uniqueItems") is True:
            words.append("each once")
        if isinstance(item := flat.get("contains"), Mapping):
            often = _range({"minContains": 1, **flat}, "minContains", "maxContains")
            words.append(f"{often.replace('at least 1', 'some')} of them {_words(item)}")
    if kind in ("object", ""):
        words.append(_range(flat, "minProperties", "maxProperties", "keys"))
    if kind != "null" and isinstance(excluded := flat.get("not"), Mapping) and (text := _words(excluded)):
        words.append(f"not {text}")
    return ", ".join(filter(None, words))


def _without_draft_4(flat: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with `exclusiveMinimum: 3` for the `minimum: 3, exclusiveMinimum: true` of draft 4."""
    changed = dict(flat)
    for name, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if changed.get(name) is True and bound in changed:
            changed[name] = changed.pop(bound)
    return changed


_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "array": "list"}


def _words(flat: Mapping[str, Any]) -> str:
    """Return what values of a schema are, in a few words: `'a' or 'b'`, `int (at least 1)`, `/^x/`."""
    allowed = [flat["const"]] if "const" in flat else flat.get("enum")
    if isinstance(allowed, list) and allowed:
        shown = " or ".join(one_line(repr(value), 60) for value in allowed[:_VALUES])
        return f"{shown} …" if len(allowed) > _VALUES else shown
    kind = flat.get("type")
    kinds = [each for each in (kind if isinstance(kind, list) else [kind]) if isinstance(each, str)]
    limits = limits_of(flat, kinds[0] if len(kinds) == 1 else "")
    named = " or ".join(_TYPES.get(each, "dict") for each in kinds)
    return f"{named} ({limits})" if named and limits else named or limits


def _range(flat: Mapping[str, Any], least: str, most: str, what: str = "") -> str:
    low, high = _number(flat, least), _number(flat, most)
    if what and low == 0:
        low = None  # nothing is shorter
    if low is None and high is None:
        return ""
    if low == high:
        return f"{low} {what}".strip() if low != 1 else f"1 {what[:-1]}".strip()
    if low is None:
        return f"at most {high} {what}".strip()
    plural = what[:-1] if low == 1 and high is None else what
    return (f"at least {low}" if high is None else f"{low}..{high}") + (f" {plural}" if plural else "")


def _number(flat: Mapping[str, Any], name: str) -> int | float | None:
    value = flat.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) in _MACHINE:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def description_of(document: Document, flat: Mapping[str, Any], depth: int = 0) -> str:
    """Return what a schema says of its values in words: its description, those of its alternatives and items, examples.

    Args:
        document: The document that it is of.
        flat: The schema, without references.
        depth: How deeply it is nested in the one that is described.
    """
    sentences: dict[str, None] = {}
    if isinstance(own := flat.get("description"), str):
        sentences[own.strip()] = None
    for branch in _branches(document, flat) if depth < 2 else ():
        words = description_of(document, branch, depth + 1)
        if words and "const" in branch:
            words = f"{branch['const']!r}: {words}"
        sentences[words] = None
    if depth < 2 and isinstance(items := flat.get("items"), Mapping):
        each = document.flat(items)
        # Of objects the keys are described, each by itself.
        if "properties" not in each:
            sentences[description_of(document, each, depth + 1)] = None
    # Titles of objects are names of types; those of others may have what no description repeats, such as a unit.
    if depth == 0 and not sentences and isinstance(title := flat.get("title"), str) and "properties" not in flat:
        sentences[title.strip()] = None
    if flat.get("deprecated") is True:
        sentences["Deprecated."] = None
    if flat.get("readOnly") is True:
        sentences["Read-only."] = None
    examples = flat.get("examples")
    if isinstance(examples, list) and "enum" not in flat:
        shown = [repr(example) for example in examples[:_EXAMPLES] if len(repr(example)) <= 80]
        if shown and not any(example.strip("'\"") in text for text in sentences for example in shown):
            sentences[f"For example {' or '.join(shown)}."] = None
    parts = [text for text in sentences if text]
    return " ".join(text if text.endswith((".", "!", "?", ":")) or text == parts[-1] else f"{text}." for text in parts)


def _branches(document: Document, flat: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for word in ("anyOf", "oneOf"):
        branches = flat.get(word)
        for branch in branches[:_BRANCHES] if isinstance(branches, list) else ():
            yield document.flat(branch)


def requirements(
    document: Document, flat: Mapping[str, Any], word: Callable[[str], str] = str, structured: bool = False
) -> tuple[str, ...]:
    """Return which keys of an object are required together, a condition each: `a, or b and c`, `a: with b`.

    Args:
        document: The document that the schema is of.
        flat: The schema of the object, without references.
        word: Returns what a reader knows a key by.
        structured: Alternatives with keys of their own are told as well; else they are types, and their own keys say it.
    """
    always = set(names_at(flat, "required"))
    found: dict[str, None] = {}
    for part in (flat, *(also for also in flat.get(ALSO, ()) if isinstance(also, Mapping))):
        for kind, words in (("anyOf", ""), ("oneOf", "exactly one of: ")):
            branches = part.get(kind)
            if not isinstance(branches, list) or len(branches) > _BRANCHES:
                continue
            each = [document.flat(branch) for branch in branches]
            if not structured and any("properties" in branch for branch in each):
                continue
            texts = list(dict.fromkeys(_condition(branch, always, word, document) for branch in each))
            if all(texts) and len(texts) > 1:
                found[f"{words}{'; or '.join(texts)}"] = None
        for name, needed in (mapping_at(part, "dependencies") | mapping_at(part, "dependentRequired")).items():
            if isinstance(needed, list) and (names := [word(key) for key in needed if isinstance(key, str)]):
                found[f"{word(name)} only with {' and '.join(names)}"] = None
        schemas = {k: v for k, v in mapping_at(part, "dependencies").items() if isinstance(v, Mapping)}
        for name, schema in (schemas | mapping_at(part, "dependentSchemas")).items():
            if needed := _condition(document.flat(schema), set(), word, document, limits=True):
                found[f"{word(name)} only with {needed}"] = None
        excluded = document.flat(part["not"]) if "not" in part else {}
        if names := [word(key) for key in names_at(excluded, "required")]:
            found[f"not {' with '.join(names)}"] = None
        if "if" in part:
            condition = _condition(document.flat(part["if"]), set(), word, document, limits=True)
            for key, opening in (("then", "where"), ("else", "where not")):
                needed = _condition(document.flat(part.get(key, {})), always, word, document, limits=True)
                if condition and needed:
                    found[f"{opening} {condition}: {needed}"] = None
    if "properties" in flat:
        least, most = _number(flat, "minProperties"), _number(flat, "maxProperties")
        least = least if least is not None and least > len(always) else None
        if text := _range({"least": least, "most": most}, "least", "most", "keys"):
            found[text] = None
    return tuple(found)


def _condition(
    branch: Mapping[str, Any],
    always: set[str],
    word: Callable[[str], str],
    document: Document,
    *,
    limits: bool = False,
) -> str:
    """Return what an alternative asks for: the keys that it requires, and those that have certain values or limits."""
    values: dict[str, str] = {}
    for name, schema in mapping_at(branch, "properties").items():
        flat = document.flat(schema)
        allowed = [flat["const"]] if "const" in flat else flat.get("enum")
        if isinstance(allowed, list) and 0 < len(allowed) <= 10:
            values[name] = f"{word(name)} = {' or '.join(one_line(repr(value), 60) for value in allowed)}"
        elif limits and schema is False:
            values[name] = f"no {word(name)}"
        elif limits and (text := _words(flat)):
            values[name] = f"{word(name)}: {text}"
    keys = [name for name in names_at(branch, "required") if name not in always and name not in values]
    return " and ".join([*values.values(), *map(word, keys)])
