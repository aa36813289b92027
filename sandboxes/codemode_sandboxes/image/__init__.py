"""Images of Python for jails and containers, made of an installed interpreter without a network.

An image is a folder that is `/` for a guest: one CPython with its standard library, the C libraries that it needs, time
zones, and the guest runner; about 45 MB. It names no path of this machine.
"""

from codemode_sandboxes.image.build import Image, build_image, default_folder
from codemode_sandboxes.image.contents import ImageError

__all__ = ["Image", "ImageError", "build_image", "default_folder"]
