"""The seccomp filters, run by a small interpreter of classic BPF: what they answer on either machine."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from codemode_sandboxes.linux.seccomp import ALLOWED, ARCHITECTURES, DENIED, build_allow_list, build_deny_list

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
READ, EXEC = 1, 4

# Numbers on x86_64 and aarch64 of calls that no guest may make.
FORBIDDEN = {
    "openat": (257, 56), "openat2": (437, 437), "newfstatat": (262, 79), "statx": (332, 291), "getdents64": (217, 61),
    "unlinkat": (263, 35), "readlinkat": (267, 78), "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203),
    "bind": (49, 200), "sendto": (44, 206), "sendmsg": (46, 211), "recvmsg": (47, 212), "clone": (56, 220),
    "clone3": (435, 435), "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tgkill": (234, 131),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "memfd_create": (319, 279), "io_uring_setup": (425, 425), "bpf": (321, 280), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "chroot": (161, 51), "prctl": (157, 167), "seccomp": (317, 277),
    "setuid": (105, 146), "capset": (126, 91), "keyctl": (250, 219), "shmget": (29, 194), "ioctl": (16, 29),
    "fcntl": (72, 25), "dup": (32, 23), "pipe2": (293, 59), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    "fstat": (5, 80), "pkey_mprotect": (329, 288), "sendfile": (40, 71), "uname": (63, 160),
}  # fmt: skip


def answer(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int | None = None,
    build: Callable[[str], bytes] = build_allow_list,
) -> int:
    """Run a filter on one system call."""
    audit = ARCHITECTURES[machine] if architecture is None else architecture
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, audit, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", build(machine)))
    position = accumulator = 0
    while True:
        operation, if_true, if_false, constant = program[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                position += if_true if accumulator == constant else if_false
            case 0x35:
                position += if_true if accumulator >= constant else if_false
            case 0x45:
                position += if_true if accumulator & constant else if_false
            case 0x06:
                return int(constant)
            case _:
                raise AssertionError(hex(operation))


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_each_listed_call_is_allowed_and_each_dangerous_one_refused(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    listed = {numbers[column] for numbers in ALLOWED.values()}
    for name, numbers in ALLOWED.items():
        if (number := numbers[column]) is not None:
            assert answer(machine, number) == ALLOW, name
    for name, numbers in FORBIDDEN.items():
        assert answer(machine, numbers[column]) == EPERM, name
    assert all(answer(machine, number) == EPERM for number in range(600) if number not in listed)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_arguments_decide_where_a_call_has_two_sides(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    for name in ("mmap", "mprotect"):
        number = ALLOWED[name][column]
        assert number is not None
        assert answer(machine, number, 0, 4096, READ) == ALLOW
        assert answer(machine, number, 0, 4096, READ | EXEC) == EPERM
        assert answer(machine, number, 0, 4096, EXEC) == EPERM
    limits = ALLOWED["prlimit64"][column]
    assert limits is not None
    assert answer(machine, limits, 0) == ALLOW
    assert answer(machine, limits, 1) == EPERM


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_list_of_jails_refuses_what_is_on_it_and_what_is_newer_than_it(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    refused = {numbers[column] for numbers in DENIED.values()} | set(range(428, 434))
    for number in range(600):
        wanted = EPERM if number in refused else ENOSYS if number == 435 or number > 436 else ALLOW
        if number not in (FORBIDDEN["clone"][column], FORBIDDEN["socket"][column], FORBIDDEN["prctl"][column]):
            assert answer(machine, number, build=build_deny_list) == wanted, number
    for name, argument, wanted in [
        ("clone", 0x00010000, ALLOW),
        *[("clone", 1 << bit, EPERM) for bit in (17, 25, 26, 27, 28, 29, 30)],
        ("socket", 1, ALLOW),
        *[("socket", family, EPERM) for family in (0, 2, 10, 16, 17, 38, 40)],
        ("prctl", 1, EPERM),
        ("prctl", 4, ALLOW),
    ]:
        assert answer(machine, FORBIDDEN[name][column], argument, build=build_deny_list) == wanted, (name, argument)


@pytest.mark.parametrize("build", [build_allow_list, build_deny_list])
def test_calls_of_another_machine_kill(build: Callable[[str], bytes]) -> None:
    assert answer("x86_64", 0, architecture=0x40000003, build=build) == KILL  # 32-bit calls on a 64-bit kernel
    assert answer("x86_64", 0x40000000, build=build) == KILL  # x32
    assert answer("aarch64", 63, architecture=ARCHITECTURES["x86_64"], build=build) == KILL


@pytest.mark.skipif(not Path("/usr/include/asm-generic/unistd.h").exists(), reason="no kernel headers")
def test_the_numbers_are_the_kernel_headers() -> None:
    generic = _defines("/usr/include/asm-generic/unistd.h")
    x86 = next((_defines(str(path)) for path in Path("/usr/include").glob("x86_64*/asm/unistd_64.h")), {})
    for name, (on_x86, on_arm) in (ALLOWED | DENIED).items():
        if x86:
            assert x86[name] == on_x86, name
        if on_arm is not None:
            assert generic.get(name, generic.get(f"3264_{name}")) == on_arm, name


def _defines(path: str) -> dict[str, int]:
    found = {}
    for line in Path(path).read_text().splitlines():
        match line.split():
            case ["#define", name, number, *_] if name.startswith("__NR") and number.isdigit():
                found[name.removeprefix("__NR_").removeprefix("__NR")] = int(number)
    return found
