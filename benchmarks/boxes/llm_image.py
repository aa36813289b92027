"""An image for llm-sandbox: the one of our guests, with the commands that llm-sandbox runs in a container.

Its own images come from a registry; this one is made here. Its Python starts in the same time as that of our guests.
"""

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

__all__ = ["llm_image"]

_OURS, _TAG = "codemode-sandbox:latest", "codemode-benchmark-llm-sandbox"
_COMMANDS = ("sh", "mkdir", "sleep")
_ROOT = b"root:x:0:0:root:/tmp:/bin/sh\n"


def llm_image(client: Any) -> str:
    """Give the image's name, and make it where it is not there.

    Args:
        client: Of the package docker.
    """
    if not client.images.list(name=_TAG):
        container = client.containers.create(_OURS, command=["nothing"])
        try:
            data = b"".join(container.export())
        finally:
            container.remove()
        client.api.import_image_from_data(_with_commands(data), repository=_TAG, tag="latest")
    return f"{_TAG}:latest"


def _with_commands(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=made, mode="w") as new:
        names = {"etc/passwd"}
        for member in old.getmembers():
            if member.name not in names:
                names.add(member.name)
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        _add(new, "etc/passwd", _ROOT)
        for command in _COMMANDS:
            for path in (f"/bin/{command}", *_libraries(f"/bin/{command}")):
                if (name := path.lstrip("/")) not in names:
                    names.add(name)
                    _add(new, name, Path(os.path.realpath(path)).read_bytes())
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, "/py/bin/python3"
        new.addfile(link)
    return made.getvalue()


def _libraries(command: str) -> list[str]:
    told = subprocess.run(["ldd", command], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(", told)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    archive.addfile(info, io.BytesIO(data))
