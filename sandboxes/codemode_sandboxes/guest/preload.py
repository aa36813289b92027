"""The modules that a guest imports before it is locked down: it can read nothing from disk after."""

import _imp
import contextlib
import encodings
import functools
import gc
import importlib
import io
import logging
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

__all__ = ["MODULES", "preload"]

MODULES = (
    "abc", "array", "ast", "asyncio", "base64", "binascii", "bisect", "calendar", "cmath", "codecs", "collections",
    "colorsys", "configparser", "contextlib", "contextvars", "copy", "csv", "dataclasses", "datetime", "decimal",
    "difflib", "email", "enum", "errno", "fnmatch", "fractions", "functools", "gc", "graphlib", "gzip", "hashlib",
    "heapq", "hmac", "html", "http", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "locale", "logging",
    "math", "numbers", "operator", "os", "pathlib", "pickle", "posixpath", "pprint", "queue", "quopri", "random", "re",
    "reprlib", "sched", "secrets", "shlex", "statistics", "string", "stringprep", "struct", "sys", "textwrap",
    "threading", "time", "timeit", "token", "tokenize", "tomllib", "traceback", "types", "typing", "unicodedata",
    "urllib", "uuid", "warnings", "weakref", "xml", "zlib", "zoneinfo",
)  # fmt: skip
"""The top-level modules that a program may import, where this interpreter has them."""

_PARTS = (
    "asyncio.taskgroups", "asyncio.timeouts", "collections.abc", "concurrent.futures.thread", "email.generator",
    "email.message", "email.mime.multipart", "email.mime.text", "email.parser", "email.policy", "email.utils",
    "html.entities", "html.parser", "http.cookies", "importlib.resources", "json.decoder", "urllib.parse",
    "xml.dom.minidom", "xml.etree.ElementTree", "xml.parsers.expat", "xml.sax.saxutils",
    # What those import only when they need it.
    "_blake2", "_md5", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512", "_strptime", "_suggestions", "tracemalloc",
)  # fmt: skip

_ENCODINGS = (
    "ascii", "base64_codec", "big5", "cp1250", "cp1251", "cp1252", "cp437", "euc_jp", "gb18030", "hex_codec", "idna",
    "iso8859_15", "iso8859_2", "latin_1", "mbcs", "punycode", "raw_unicode_escape", "rot_13", "shift_jis",
    "unicode_escape", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_7", "utf_8", "utf_8_sig", "zlib_codec",
)  # fmt: skip


def preload() -> None:
    """Import all that a program may import, and make the modules forget where they came from."""
    for name in (*MODULES, *_PARTS):
        with contextlib.suppress(ImportError):  # not every interpreter has all; the host asks which are there
            importlib.import_module(name)
    for name in _ENCODINGS:
        with contextlib.suppress(LookupError, ImportError):
            encodings.search_function(name)
    _keep_time_zones()
    _forget_places()


def _keep_time_zones() -> None:
    import zoneinfo
    from zoneinfo import _common

    # `zoneinfo` reads a zone's file when it is first used, which is too late in a guest: so all are read now.
    zones: dict[str, bytes] = {}
    for folder in map(Path, zoneinfo.TZPATH):
        for path in folder.rglob("*") if folder.is_dir() else ():
            key = path.relative_to(folder)
            if key.parts[0] not in ("posix", "right") and path.is_file():
                data = path.read_bytes()
                if data.startswith(b"TZif"):
                    zones.setdefault(str(key), data)

    def load(key: str) -> io.BytesIO:
        if key not in zones:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
        return io.BytesIO(zones[key])

    zoneinfo.reset_tzpath(to=())
    _common.load_tzdata = load  # type: ignore[assignment]
    zoneinfo.available_timezones = functools.partial(set, zones)


def _forget_places() -> None:
    """Take the paths of this machine out of the modules, so that no traceback and no message shows them."""
    library = str(Path(os.__file__).parent)
    rename: Callable[[types.CodeType, str], None] = getattr(_imp, "_fix_co_filename")  # noqa: B009 - private
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and (place := thing.__code__.co_filename).startswith("/"):
            short = place.removeprefix(library + "/") if place.startswith(library) else Path(place).name
            rename(thing.__code__, f"<python>/{short}")
    modules: list[object] = list(sys.modules.values())
    for module in modules:
        if not isinstance(module, types.ModuleType):  # Python 3.11 has classes there, such as typing.io
            continue
        for name in ("__file__", "__cached__"):
            vars(module).pop(name, None)
        if (spec := module.__spec__) is not None:
            spec.origin = spec.cached = None
            spec.has_location = False
            if spec.submodule_search_locations is not None:
                spec.submodule_search_locations = module.__path__ = []
    logging._srcfile = logging.addLevelName.__code__.co_filename  # by which logging knows its own frames
    sys.modules.pop("sysconfig", None)
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()
    sys.argv[:] = sys.orig_argv[:] = [""]
    for name in (
        "executable", "_base_executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "_stdlib_dir",
        "_framework", "_home",
    ):  # fmt: skip
        if hasattr(sys, name):
            setattr(sys, name, "")
