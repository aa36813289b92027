"""What the Linux kernel offers to shut a process in: seccomp filters and Landlock rules."""
