"""Which system calls reach the kernel. Runs inside a kernel's container, whose filter answers what it refuses with an
errno that no call gives otherwise (the first argument). Every call is made in a process of its own."""

import ctypes
import json
import mmap
import os
import select
import signal
import sys

SENTINEL = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
HIGH = 1 << 32  # what the kernel cuts off an int


def attempt(call):
    """What became of call(): "refused", "reaches", "killed" by the filter, or "dies" of something else."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.set_errno(0)
        refused = call() == -1 and ctypes.get_errno() == SENTINEL
        os.write(w, b"refused" if refused else b"reaches")
        os._exit(0)
    os.close(w)
    ready, _, _ = select.select([r], [], [], 0.3)  # some wait for ever
    said = os.read(r, 7).decode() if ready else "reaches"
    os.close(r)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not said:
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        said = {0: "reaches", signal.SIGSYS: "killed"}.get(ended, "dies")
    return said


def raw(number, *args):
    return libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a) for a in (args + (0,) * 6)[:6]))


def code(*parts):
    """Machine code as a function."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"".join(parts))
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


X86 = os.uname().machine == "x86_64"
numbers = {  # x86_64, aarch64
    "socket": (41, 198), "socketpair": (53, 199), "ioctl": (16, 29), "clone": (56, 220), "prctl": (157, 167),
    "personality": (135, 92), "sendto": (44, 206), "sendmsg": (46, 211), "recvfrom": (45, 207), "recvmsg": (47, 212),
    "sendmmsg": (307, 269), "recvmmsg": (299, 243), "preadv2": (327, 286), "renameat2": (316, 276),
    "mknodat": (259, 33), "setsockopt": (54, 208), "getpid": (39, 172), "syncfs": (306, 267),
}
calls = {
    "socket": {
        "unix": (1, 1, 0), "tcp": (2, 1, 0), "tcp flags": (2, 1 | 0o2000000, 6), "udp6": (10, 2, 17), "route": (16, 3, 0),
        "unix high": (1 | HIGH, 1, 0), "tcp high protocol": (2, 1, 6 | HIGH),
        "raw": (2, 3, 1), "ping": (2, 2, 1), "sctp": (2, 1, 132), "sctp by type": (2, 5, 0), "dccp by type": (2, 6, 0),
        "mptcp": (2, 1, 262), "mptcp high": (2, 1, 262 | HIGH), "smc": (2, 1, 256), "udplite": (2, 2, 136),
        "udplite6": (10, 2, 136), "vsock": (40, 1, 0), "vsock high": (40 | HIGH, 1, 0), "alg": (38, 5, 0),
        "packet": (17, 3, 0), "key": (15, 3, 2), "bluetooth": (31, 3, 1), "tipc": (30, 2, 0), "rds": (21, 5, 0),
        "xdp": (44, 3, 0), "can": (29, 3, 1), "smc family": (43, 1, 0), "qipcrtr": (42, 2, 0), "nfc": (39, 5, 0),
        "kcm": (41, 2, 0), "phonet": (35, 2, 0), "x25": (9, 5, 0), "ax25": (3, 5, 0), "unspec": (0, 1, 0),
        **{f"netlink {n}": (16, 3, n) for n in (4, 6, 9, 12, 15, 16, 21)},
        "netlink 12 high": (16, 3, 12 | HIGH), "netlink family high": (16 | HIGH, 3, 12),
    },
    "socketpair": {"unix": (1, 1, 0), "inet": (2, 1, 0), "tipc": (30, 1, 0)},
    "ioctl": {
        "TIOCGWINSZ": (0, 0x5413), "TIOCGWINSZ high": (0, 0x5413 | HIGH), "FIONREAD": (0, 0x541B), "TIOCSTI": (0, 0x5412),
        "TIOCSTI high": (0, 0x5412 | HIGH), "TIOCLINUX": (0, 0x541C), "TIOCSETD": (0, 0x5423), "TIOCCONS": (0, 0x541D),
        "FS_IOC_SETFLAGS": (0, 0x40086602), "NS_GET_USERNS": (0, 0xB701), "KVM_CREATE_VM": (0, 0xAE01), "zero": (0, 0),
    },
    "clone": {
        **{f"{f:#x}": (f | 17,) for f in (0, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)},
        "0x80": (0x80,), "user high": (0x10000000 | 17 | HIGH,),
    },
    "prctl": {
        "name": (16, 0), "no new privileges": (39,), "seccomp": (22, 2), "seccomp high": (22 | HIGH, 2), "mm": (35,),
        "ptracer": (0x59616D61,), "speculation": (53,), "securebits": (28,), "capbset drop": (24,), "ambient": (47, 1),
    },
    "personality": {
        "usual": (0,), "ask": (0xFFFFFFFF,), "no random": (0x40000,), "no random high": (0x40000 | HIGH,), "read exec": (0x400000,),
    },
    **{name: {"plain": args, "oob": args[:at] + (1,), "oob high": args[:at] + (1 | HIGH,)} for name, args, at in (
        ("sendto", (-1 % HIGH, 0, 0, 0), 3), ("sendmsg", (-1 % HIGH, 0, 0), 2), ("sendmmsg", (-1 % HIGH, 0, 0, 0), 3),
        ("recvfrom", (-1 % HIGH, 0, 0, 0), 3), ("recvmsg", (-1 % HIGH, 0, 0), 2), ("recvmmsg", (-1 % HIGH, 0, 0, 0), 3))},
    "preadv2": {"plain": (0,), "nowait": (0, 0, 0, 0, 0, 8), "nowait high": (0, 0, 0, 0, 0, 8 | HIGH)},
    "renameat2": {"plain": (0, 0, 0, 0, 1), "whiteout": (0, 0, 0, 0, 4)},
    "mknodat": {"fifo": (0, 0, 0o10600), "char": (0, 0, 0o20600), "block": (0, 0, 0o60600), "char high": (0, 0, 0o20600 | HIGH)},
    "setsockopt": {
        "reuse": (0, 1, 2), "filter": (0, 1, 26), "filter high": (0, 1 | HIGH, 26 | HIGH), "bpf": (0, 1, 50), "reuseport bpf": (0, 1, 52),
        "nodelay": (0, 6, 1), "ulp": (0, 6, 31), "netfilter": (0, 0, 64), "alg": (0, 279, 1), "netlink": (0, 270, 1), "v6only": (0, 41, 26),
    },
    "getpid": {"native": ()},
}

verdicts = {}
for name, variants in calls.items():
    number = numbers[name][0 if X86 else 1]
    for variant, args in variants.items():
        verdicts[f"{name}: {variant}"] = attempt(lambda: raw(number, *args))
# A file system that is none cannot be written out: who says that it was has not asked the kernel.
verdicts["syncfs: of nothing"] = "pretends" if raw(numbers["syncfs"][0 if X86 else 1], 999) == 0 else "reaches"
if X86:
    verdicts["x32: getpid"] = attempt(lambda: raw(0x40000000 | 39))
    # Dies by itself where the machine knows no 32-bit calls at all.
    bits32 = attempt(code(b"\xb8\x14\x00\x00\x00", b"\xcd\x80", b"\xc3"))  # mov $20, %eax; int $0x80; ret
    verdicts["32 bits: getpid"] = "killed" if bits32 == "dies" else bits32
sweep = [n for n in range(601) if attempt(lambda: raw(n)) != "refused"]
print(json.dumps({"sweep": sweep, "verdicts": verdicts}))
