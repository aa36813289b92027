"""Removal of secrets from text that a program, a model, a trace or a person will see."""

import os
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from codemode_graph.preview import cut

_MASK = "[redacted]"
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|DSN)S?($|_)", re.I)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {_MASK}"),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{_MASK}@"),
    (
        re.compile(
            r"(?i)\b([\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d|authorization|cookie))(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"
        ),
        rf"\1\2{_MASK}",
    ),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|xox[abps]|glpat|AKIA)[-_]?[A-Za-z0-9_-]{12,}"), _MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), _MASK),
)


def redact(text: str, *, limit: int = 2000) -> str:
    """Return text with `[redacted]` in place of what looks like a credential, and of every secret in the environment.

    Args:
        text: Any text, such as an exception's message.
        limit: Longest result, in characters; the rest is cut, with a note of how much.

    Returns:
        The text without the secrets that can be recognised: bearer and basic tokens, passwords in URLs, `key=value` pairs
        with a name such as `api_key`, well-known key formats, JSON web tokens, and the values of environment variables
        with a name such as `..._TOKEN`.
    """
    # The environment may change while the process runs, so it is part of the cache's key.
    for secret in _environment_secrets(tuple(sorted(os.environ.items()))):
        text = text.replace(secret, _MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return cut(text, limit)


def mask(value: Any, names: Collection[str]) -> Any:
    """Return a JSON value with `[redacted]` for the values of these keys, at any depth."""
    if not names:
        return value
    if isinstance(value, dict):
        return {key: _MASK if key in names else mask(item, names) for key, item in value.items()}
    return [mask(item, names) for item in value] if isinstance(value, list) else value


def unmask(value: Any, names: Collection[str], original: Any) -> Any:
    """Return a JSON value with what the original has in place of `[redacted]` under these keys, at any depth."""
    if isinstance(value, dict) and isinstance(original, dict):
        return {
            key: original[key]
            if key in names and item == _MASK and key in original
            else unmask(item, names, original.get(key))
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(original, list) and len(value) == len(original):
        return [unmask(item, names, known) for item, known in zip(value, original, strict=True)]
    return value


@lru_cache(maxsize=4)
def _environment_secrets(environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    # Shorter values are words such as "true", which would be cut out of innocent text.
    return tuple(value for name, value in environment if len(value) >= 8 and _SECRET_NAME.search(name))
