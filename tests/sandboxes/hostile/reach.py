"""Attempts on files, the environment, the network and processes."""

from tests.sandboxes.hostile.attack import attack

SYSTEM_CALL = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"

_FILES = {
    "os.open": "import os\nos.read(os.open('@FILE@', os.O_RDONLY), 100).decode()",
    "io.open_code": "import io\nio.open_code('@FILE@').read().decode()",
    "codecs.open": "import codecs\ncodecs.open('@FILE@').read()",
    "linecache": "import linecache\nlinecache.getlines('@FILE@')",
    "fileinput": "import fileinput\nlist(fileinput.input('@FILE@'))",
    "tokenize.open": "import tokenize\ntokenize.open('@FILE@').read()",
    "a loader's get_data": "import importlib.machinery as m\nm.SourceFileLoader('x', '@FILE@').get_data('@FILE@').decode()",
    "runpy": "import runpy\nrunpy.run_path('@FILE@')",
    "zipimport": "import zipimport\nzipimport.zipimporter('@FILE@')",
    "a URL of a file": "import urllib.request\nurllib.request.urlopen('file://@FILE@').read().decode()",
    "an entity of XML": """
        import xml.sax, xml.sax.handler, io
        said = []
        class Handler(xml.sax.handler.ContentHandler):
            def characters(self, content):
                said.append(content)
        parser = xml.sax.make_parser()
        parser.setFeature(xml.sax.handler.feature_external_ges, True)
        parser.setContentHandler(Handler())
        parser.parse(io.StringIO('<!DOCTYPE r [<!ENTITY x SYSTEM "file://@FILE@">]><r>&x;</r>'))
        "".join(said)
    """,
    "a symbolic link": "import os\nos.symlink('@FILE@', '/tmp/link')\nopen('/tmp/link').read()",
    "a hard link": "import os\nos.link('@FILE@', '/tmp/hard')\nopen('/tmp/hard').read()",
    "the root of /proc/self": "open('/proc/self/root@FILE@').read()",
    "the root of /proc/1": "open('/proc/1/root@FILE@').read()",
    "the current folder of the parent": "import os\nopen(f'/proc/{os.getppid()}/cwd/@FILE@').read()",
    "up and up": "open('/tmp/' + '../' * 20 + '@FILE@').read()",
    "descriptors as paths": """
        import os
        found = []
        for fd in range(300):
            for place in (f"/proc/self/fd/{fd}/@FILE@", f"/dev/fd/{fd}"):
                try:
                    found.append(open(place, "rb").read(1000).decode("latin-1"))
                except OSError:
                    pass
        found
    """,
    "openat of every descriptor": """
        import os
        found = []
        for fd in range(300):
            try:
                found.append(os.read(os.open("@FILE@".lstrip("/"), os.O_RDONLY, dir_fd=fd), 100).decode())
            except OSError:
                pass
        found
    """,
    "fopen of the C library": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.fopen.restype = ctypes.c_void_p\nf = libc.fopen(b'@FILE@', b'r')\nb = ctypes.create_string_buffer(100)\nf and libc.fgets(b, 100, ctypes.c_void_p(f))\nb.value.decode()",
    "open_by_handle_at": SYSTEM_CALL + "handle = ctypes.create_string_buffer(bytes([8, 0, 0, 0, 1, 0, 0, 0]) + bytes(8))\nfd = libc.syscall(304, 200, handle, 0)\nos.listdir(fd) if fd >= 0 else 'refused'",
    "openat2 by number": SYSTEM_CALL + "how = (ctypes.c_uint64 * 3)(0, 0, 0)\nfd = libc.syscall(437, -100, b'@FILE@', how, 24)\nos.read(fd, 100).decode() if fd >= 0 else 'refused'",
    "io_uring": SYSTEM_CALL + "p = ctypes.create_string_buffer(120)\nfd = libc.syscall(425, 8, p)\n'REACHED' if fd >= 0 else 'refused'",
    "a disk as a device": "import os\nos.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))\nopen('/tmp/disk', 'rb').read(100).hex()",
    "the host's users": "open('/etc/shadow').read()",
    "kernel memory": "open('/dev/mem', 'rb').read(10).hex() + open('/proc/kcore', 'rb').read(10).hex()",
    "all of the file system": "import os\n[path for top, _, names in os.walk('/') for name in names if (path := os.path.join(top, name)) == '@FILE@']",
    "a log file": "import logging\nlogging.basicConfig(filename='@WRITE@')\nlogging.error('x')",
    "a new file": "open('@WRITE@', 'x').close()",
    "a renamed file": "import os\nopen('/tmp/a', 'w').close()\nos.rename('/tmp/a', '@WRITE@')",
    "a socket in the file system": "import socket\nsocket.socket(socket.AF_UNIX).bind('@WRITE@')",
    "a file in a database": "import sqlite3\nc = sqlite3.connect('/tmp/x.db')\nc.execute(\"attach '@WRITE@' as y\")\nc.execute('create table y.t(x)')",
    "another root": "import os\nos.mkdir('/tmp/r')\nos.chroot('/tmp/r')\nfor _ in range(30):\n    os.chdir('..')\nos.chroot('.')\nopen('@FILE@').read()",
    "a mount": SYSTEM_CALL + "os.mkdir('/tmp/m')\n[libc.mount(b'/', b'/tmp/m', None, 4096, None), ctypes.get_errno()]\nopen('/tmp/m/@FILE@').read()",
    "a namespace and a mount": SYSTEM_CALL + "r = libc.unshare(0x10000000 | 0x20000)\n'REACHED' if r == 0 else 'refused'",
    "proc mounted anew": SYSTEM_CALL + "os.mkdir('/tmp/p')\nr = libc.mount(b'proc', b'/tmp/p', b'proc', 0, None)\nopen('/tmp/p/1/environ').read() if r == 0 else 'refused'",
}  # fmt: skip

_ENVIRONMENT = {
    "os.getenv": "import os\nos.getenv('@ENV@')",
    "os.environb": "import os\nos.environb.get(b'@ENV@')",
    "getenv of the C library": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\nstr(libc.getenv(b'@ENV@'))",
    "the environment of every process": """
        import os
        found = []
        for pid in [*range(1, 200), os.getppid(), os.getpid()]:
            try:
                found.append(open(f"/proc/{pid}/environ", "rb").read().decode("latin-1"))
            except OSError:
                pass
        found
    """,
    "the stack's upper end": """
        import ctypes
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        found, n = [], 0
        while environ[n]:
            found.append(environ[n].decode())
            n += 1
        found
    """,
    "a child's environment": "import subprocess\nsubprocess.run(['env'], capture_output=True, text=True).stdout",
    "the memory of the process": """
        import re
        found = []
        for line in open("/proc/self/maps"):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            with open("/proc/self/mem", "rb") as memory:
                try:
                    memory.seek(start)
                    found += re.findall(rb"canary-of-the-environment-[0-9a-f]{4}", memory.read(end - start))
                except (OSError, ValueError, OverflowError):
                    pass
        [text.decode() for text in found]
    """,
    "the memory of the parent": SYSTEM_CALL + """
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8)
here, there = Part(ctypes.addressof(buffer), 8), Part(0x400000, 8)
r = libc.syscall(310, os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
"REACHED" if r > 0 else "refused"
""",
}  # fmt: skip

_NETWORK = {
    "create_connection": "import socket\nsocket.create_connection(('127.0.0.1', @PORT@), timeout=0.3)",
    "IPv6": "import socket\nsocket.create_connection(('::ffff:127.0.0.1', @PORT@), timeout=0.3)",
    "open_connection": "import asyncio\nawait asyncio.open_connection('127.0.0.1', @PORT@)",
    "a loop of its own": "import asyncio\nasyncio.SelectorEventLoop().run_until_complete(asyncio.open_connection('127.0.0.1', @PORT@))",
    "connect by number": SYSTEM_CALL + "import struct\nfd = libc.syscall(41, 2, 1, 0)\na = struct.pack('=HHIQ', 2, ((@PORT@ & 255) << 8) | (@PORT@ >> 8), 0x0100007F, 0)\nlibc.syscall(42, fd, a, 16)",
    "connect through 32-bit numbers": SYSTEM_CALL + "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b866000000cd80c3'))\nf = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nf()",
    "x32 numbers": SYSTEM_CALL + "fd = libc.syscall(0x40000000 | 41, 2, 1, 0)\n'REACHED' if fd >= 0 else 'refused'",
    "a raw socket": "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n'REACHED'",
    "netlink": "import socket\ns = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n'REACHED'",
    "vsock": "import socket\ns = socket.socket(40, socket.SOCK_STREAM)\ns.settimeout(0.2)\ns.connect((2, @PORT@))\n'REACHED'",
    "a crypto socket": "import socket\nsocket.socket(38, socket.SOCK_SEQPACKET)\n'REACHED'",
    "the gateway": "import socket\nsocket.create_connection(('172.17.0.1', @PORT@), timeout=0.3)\n'REACHED'",
    "the metadata service": "import urllib.request\nurllib.request.urlopen('http://169.254.169.254/latest/meta-data/', timeout=0.3).read().decode() + 'REACHED'",
    "xmlrpc": "import xmlrpc.client\nxmlrpc.client.ServerProxy('http://127.0.0.1:@PORT@').x()",
    "ftp": "import ftplib\nftplib.FTP().connect('127.0.0.1', @PORT@, timeout=0.3)",
    "a handler of logs": "import logging, logging.handlers\nlogging.getLogger().addHandler(logging.handlers.SocketHandler('127.0.0.1', @PORT@))\nlogging.error('x')\n1",
    "an abstract name": "import socket\nfor name in ('\\0/tmp/.X11-unix/X0', '\\0dbus', '/run/dbus/system_bus_socket', '/var/run/docker.sock', '/run/containerd/containerd.sock'):\n    try:\n        socket.socket(socket.AF_UNIX).connect(name)\n        found = 'REACHED'\n    except OSError:\n        found = 'refused'\n    if found == 'REACHED':\n        break\nfound",
    "descriptors that are sockets": "import socket\nfound = []\nfor fd in range(4, 200):\n    try:\n        found.append(str(socket.socket(fileno=fd).getpeername()))\n    except OSError:\n        pass\n'REACHED' if any('127' in name for name in found) else 'refused'",
}  # fmt: skip

_PROCESSES = {
    "posix_spawn": "import os\nos.posix_spawn('/usr/bin/touch', ['touch', '@WRITE@'], {})",
    "posix_spawn of a shell": "import os\nos.posix_spawnp('sh', ['sh', '-c', 'touch @WRITE@'], {'PATH': '/bin:/usr/bin'})",
    "Popen through a shell": "import subprocess\nsubprocess.Popen('touch @WRITE@', shell=True).wait()",
    "a child of asyncio": "import asyncio\np = await asyncio.create_subprocess_shell('touch @WRITE@')\nawait p.wait()",
    "a terminal": "import pty\npty.spawn(['sh', '-c', 'touch @WRITE@'])",
    "system of the C library": "import ctypes\nctypes.CDLL(None).system(b'touch @WRITE@')",
    "a pool of processes": "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor().submit(open, '@WRITE@', 'w').result()",
    "fork and exec": "import os\npid = os.fork()\nif pid == 0:\n    os.execvp('touch', ['touch', '@WRITE@'])\nos.waitpid(pid, 0)",
    "its own interpreter": "import os, sys\nfor path in (sys.executable, '/py/bin/python3', '/usr/bin/python3'):\n    try:\n        os.execv(path, [path, '-c', \"open('@WRITE@', 'w')\"])\n    except (OSError, ValueError):\n        pass",
    "a program in memory": "import os\nfd = os.memfd_create('x')\nos.write(fd, b'#!/bin/sh\\ntouch @WRITE@\\n')\nos.execve(fd, ['x'], {})",
    "code of the machine": "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b83c000000bf2a0000000f05'))\nctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
    "kill all": "import os\nos.kill(-1, 9)\n1",
    "kill its group": "import os\nos.killpg(0, 9)\n1",
    "kill the parent": "import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)\n1",
    "kill those near": "import os\nfor pid in range(max(2, os.getpid() - 20), os.getpid()):\n    try:\n        os.kill(pid, 9)\n    except OSError:\n        pass\n1",
    "stop the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n1",
    "signals through descriptors": "import os, signal\nfor fd in range(300):\n    try:\n        signal.pidfd_send_signal(fd, 9)\n    except OSError:\n        pass\n1",
    "the parent's limits": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))\n'REACHED'",
    "the parent's priority": "import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)\n'REACHED'",
    "another user": "import os\nos.setresuid(0, 0, 0)\n'REACHED' if os.access('@FILE@', os.R_OK) else 'refused'",
    "capabilities": SYSTEM_CALL + "import struct\nh = struct.pack('=Ii', 0x20080522, 0)\nd = struct.pack('=6I', *[0xFFFFFFFF] * 6)\nr = libc.syscall(126, h, d)\n'REACHED' if r == 0 else 'refused'",
    "debugging another": SYSTEM_CALL + "r = libc.syscall(101, 16, os.getppid(), 0, 0)\n'REACHED' if r == 0 else 'refused'",
    "the parent's namespace": SYSTEM_CALL + "fd = os.open(f'/proc/{os.getppid()}/ns/mnt', os.O_RDONLY)\nlibc.setns(fd, 0)\nopen('@FILE@').read()",
    "clone3": SYSTEM_CALL + "a = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)\nr = libc.syscall(435, a, 88)\n'REACHED' if r > 0 else 'refused'",
    "bpf": SYSTEM_CALL + "r = libc.syscall(321, 0, ctypes.create_string_buffer(64), 64)\n'REACHED' if r >= 0 else 'refused'",
    "events of the machine": SYSTEM_CALL + "r = libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)\n'REACHED' if r >= 0 else 'refused'",
    "a module of the kernel": SYSTEM_CALL + "r = libc.syscall(175, b'x', 1, b'')\n'REACHED' if r == 0 else 'refused'",
    "typing into the terminal": "import fcntl\nfor fd in range(3):\n    try:\n        fcntl.ioctl(fd, 0x5412, b'x')\n        found = 'REACHED'\n    except OSError:\n        found = 'refused'\nfound",
    "a daemon": "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time\n        while True:\n            try:\n                open('@WRITE@', 'w')\n            except OSError:\n                pass\n    os._exit(0)\n'left'",
    "a daemon without a death signal": SYSTEM_CALL + "libc.prctl(1, 0, 0, 0, 0)\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        pass\n'left'",
}  # fmt: skip

REACHES = tuple(
    attack(name, category, code)
    for category, programs in (
        ("filesystem", _FILES),
        ("environment", _ENVIRONMENT),
        ("network", _NETWORK),
        ("process", _PROCESSES),
    )
    for name, code in programs.items()
)
