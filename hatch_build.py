"""The addresses in the metadata of a release: whoever publishes it names its repository."""

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ProjectUrls"]


class ProjectUrls(MetadataHookInterface):
    """Sets the project's URLs from `CODEMODE_REPOSITORY`, such as `https://github.com/OWNER/codemode-graph`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the URLs; none where no repository is named, since a wrong address is worse than none."""
        address = os.environ.get("CODEMODE_REPOSITORY", "").rstrip("/")
        pages = {"Repository": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"} if address else {}
        metadata["urls"] = {label: address + path for label, path in pages.items()}
