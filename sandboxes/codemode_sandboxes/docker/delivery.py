"""How the guest runner gets into a container: it is in images made for it, and comes over standard input into others."""

import functools
import hashlib
import json
from dataclasses import dataclass

from codemode_sandboxes.docker.facts import ImageFacts
from codemode_sandboxes.image.contents import GUEST, PYTHON
from codemode_sandboxes.process.spawn import guest_files

__all__ = ["GUEST_LABEL", "PACKAGES_LABEL", "Delivery", "deliver", "guest_version"]

GUEST_LABEL = "codemode.sandbox.guest"
"""On an image that holds the guest runner: which."""

PACKAGES_LABEL = "codemode.sandbox.packages"
"""On an image that holds packages: their names."""

_ENVIRONMENT = {"HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC"}
_LENGTH_BYTES = 4

# These stand before the runner's own entry point. Names that `site` gives to interactive sessions are not a program's.
_PREPARE = """
import builtins, sys
for name in ("copyright", "credits", "exit", "help", "license", "quit"):
    builtins.__dict__.pop(name, None)
place = "%(place)s"
main = {"__name__": "__main__", "__file__": place}
"""
_START = """
with open(place) as file:
    exec(compile(file.read(), place, "exec"), main)
"""
_RECEIVE = """
import os
if sys.version_info < (3, 11):
    sys.exit("Python %%d.%%d is too old for a sandbox: it needs 3.11 or later" %% sys.version_info[:2])
import importlib.util, json
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data
sources = json.loads(read(int.from_bytes(read(%(length)d), "big")))
class Sent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in sources:
            return importlib.util.spec_from_loader(name, Sent, is_package=name == "codemode_sandboxes.guest")
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(compile(sources[module.__name__], "<sandbox>", "exec"), module.__dict__)
sys.meta_path.insert(0, Sent)
exec(compile(sources["codemode_sandboxes.guest.__main__"], place, "exec"), main)
"""
_PLACE = f"{GUEST}/guest/__main__.py"
_SENT = (_PREPARE + _RECEIVE) % {"place": _PLACE, "length": _LENGTH_BYTES}
_WITH_PACKAGES = _PREPARE % {"place": _PLACE} + _START


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What starts the guest runner in an image: the command, its variables, and what is sent to it first."""

    command: tuple[str, ...]
    environment: dict[str, str]
    payload: bytes = b""


def deliver(image: ImageFacts, python: str) -> Delivery:
    """Tell how the guest runner is started in an image.

    Args:
        image: The image.
        python: The interpreter in it, where the image was not made for guests.
    """
    options = ("-s", "-B")
    match image.labels.get(GUEST_LABEL), image.labels.get(PACKAGES_LABEL):
        case version, None | "" if version == guest_version():
            return Delivery(command=(PYTHON, "-P", *options, "-S", f"{GUEST}/guest"), environment=_ENVIRONMENT)
        case version, _ if version == guest_version():  # packages are where `site` looks for them
            return Delivery(command=(PYTHON, *options, "-c", _WITH_PACKAGES), environment=_ENVIRONMENT)
        case version, _:
            python = PYTHON if version else python
            return Delivery(command=(python, *options, "-c", _SENT), environment=_ENVIRONMENT, payload=_payload())


def guest_version() -> str:
    """What tells this package's guest runner from any other."""
    return hashlib.sha256(_payload()).hexdigest()[:16]


@functools.cache
def _payload() -> bytes:
    sources = {
        f"codemode_sandboxes.{place.removesuffix('.py').replace('/', '.')}": source.decode()
        for place, source in guest_files().items()
    }
    sources["codemode_sandboxes.guest"] = sources.pop("codemode_sandboxes.guest.__init__")
    data = json.dumps(sources).encode()
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data
