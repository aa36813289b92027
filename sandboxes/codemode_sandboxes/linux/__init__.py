"""Two fences of the Linux kernel around a process: seccomp filters and Landlock rules.

The fork server of `restricted` imports the modules of this package without the package's own code, so keep code out of
this file, and imports of other packages out of those.
"""
