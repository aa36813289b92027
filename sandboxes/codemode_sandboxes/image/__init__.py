"""Images of Python for sandboxes that are jails or containers, made offline from an interpreter that is installed.

An image is a folder that stands as `/` of a guest: one CPython with its standard library and the C libraries that it
needs, time zones, and the guest runner; about 45 MB. Nothing in it comes from a network, and no path of this machine is
in it.
"""

from codemode_sandboxes.image.build import Image, build_image, default_folder
from codemode_sandboxes.image.contents import ImageError

__all__ = ["Image", "ImageError", "build_image", "default_folder"]
