"""The sandbox `docker`: all of CPython in a container, on this machine's Docker daemon or on several."""

from codemode_sandboxes.docker.build_image import DEFAULT_IMAGE, BuildFailed, build_docker_image, image_tag
from codemode_sandboxes.docker.sandbox import DockerSandbox

__all__ = ["DEFAULT_IMAGE", "BuildFailed", "DockerSandbox", "build_docker_image", "image_tag"]
