# Runs one probe: probe.py ID FD. What it got and what it was refused goes to FD, one JSON object a line; the host
# believes the refusals only together with a control, and the gains always.
#
# A probe's code can use all names of this file. The most useful:
#   loot()               tries to get at every secret of the machine and the neighbour, and prints whatever it reads
#   gain(what, f, *args) calls f: what it returns was got, an OSError is a refusal
#   call(name, *args)    a raw system call, told apart by its error: the filter's, or the kernel's
#   trick(what)          the Python sandbox is left
#   leave(jails.X(code)) the same for one of jails.py, then loot()
import ctypes
import errno
import glob
import json
import os
import signal
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
HOME = os.environ.get("HOME", "/")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
with open(HERE + "/plan.json") as f:
    T = json.load(f)["targets"]
BOUNDS, PLACES = T["bounds"], T["places"]

words = -1  # the file descriptor for say


def say(kind, what, why=""):
    os.write(words, json.dumps({"kind": kind, "what": str(what)[:200], "why": str(why)[:100]}).encode() + b"\n")


def got(what):
    say("got", what)


def refused(what, why="refused"):
    if isinstance(why, OSError) and why.errno:
        why = errno.errorcode.get(why.errno, str(why.errno))
    say("refused", what, why)


def trick(what):
    say("trick", what)


def check(what, holds):
    """Something that must not hold was asked for: it is got if it does."""
    got(what) if holds else refused(what, "not so")


def gain(what, f, *args):
    try:
        value = f(*args)
    except (OSError, ValueError, OverflowError) as err:
        refused(what, err)
        return None
    got(what)
    return value


def out(data):
    """Prints without a buffer: an error is seen where it happens."""
    data = data if isinstance(data, bytes) else str(data).encode(errors="replace")
    os.write(1, data[:1500] + b"\n")


def peek(what, f, *args):
    """Like gain, for what is told by its content: prints it, and leaves the judgement to the host."""
    try:
        value = f(*args)
    except (OSError, ValueError) as err:
        refused(what, err)
        return None
    out(value if value is not None else "")
    refused(what, "seen by the observer if it is a secret")
    return value


def read(path, size=1500):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def write(path, data=b"cellblock", flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o644)
    try:
        return os.write(fd, data if isinstance(data, bytes) else data.encode())
    finally:
        os.close(fd)


def talk(family, address, kind=socket.SOCK_STREAM, timeout=1.0):
    """Connects, says which probe this is, and returns what comes back."""
    s = socket.socket(family, kind)
    with s:
        s.settimeout(timeout)
        s.connect(address)
        s.sendall(T["knock"].encode() + b" " + PROBE.encode())
        return s.recv(200)


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def loot_files():
    for path in T["files"]:
        peek("read " + path, read, path)
    for path in T["write"]:
        peek("write to " + path, write, path + "/mark-" + PROBE)


def loot_network():
    for host, port in T["tcp"]:
        peek(f"connect to {host}:{port}", talk, family(host), (host, port))
    for host, port in T["udp"]:
        peek(f"send to {host}:{port}", talk, family(host), (host, port), socket.SOCK_DGRAM, 0.2)


def loot_sockets():
    for name in T["abstract"]:
        peek("connect to @" + name, talk, socket.AF_UNIX, "\0" + name)
    for path in T["unix"]:
        peek("connect to " + path, talk, socket.AF_UNIX, path)


def loot_processes():
    closed = 0
    for pid in glob.glob("/proc/[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                data = read(pid + "/" + name)
            except OSError:
                closed += 1
                continue
            if T["mark"].encode() in data and int(pid[6:]) != os.getpid():
                out(data)
    refused("find a process of somebody else", f"none there, {closed} files of others closed")


def loot_memory():
    for path in glob.glob("/dev/shm/*"):
        peek("read " + path, read, path)
    refused("find shared memory of somebody else", "none there")


def loot_environment():
    for name, value in os.environ.items():
        out(f"{name}={value}")
    refused("find a secret in the environment", "none there")


LOOT = {"files": loot_files, "network": loot_network, "sockets": loot_sockets, "processes": loot_processes,
        "memory": loot_memory, "environment": loot_environment}


def loot(*kinds):
    """Tries everything, or only some kinds of it."""
    for kind in kinds or LOOT:
        LOOT[kind]()


def child(f, *args):
    """Runs f in another process and returns its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = f(*args) or 0
        except OSError as err:
            status = err.errno if err.errno < 256 else 255
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fill(directory, beyond):
    """Writes a file until there is no room, or beyond bytes are written, and returns how much it was."""
    path, done = f"{directory}/fill-{os.getpid()}", 0
    block = b"\0" * (64 << 10)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while done <= beyond:
            done += os.write(fd, block)
    except OSError as err:
        out(f"{directory}: {err} after {done} bytes")
    finally:
        os.close(fd)
        os.unlink(path)
    return done


def many(directory, beyond):
    """Makes empty files until there is no room, or more than beyond are there, and returns how many it was."""
    top = f"{directory}/many-{os.getpid()}"
    os.mkdir(top)
    at, made = os.open(top, os.O_RDONLY), 0
    try:
        while made <= beyond:
            os.close(os.open(str(made), os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=at))
            made += 1
    except OSError as err:
        out(f"{directory}: {err} after {made} files")
    for n in range(made):
        os.unlink(str(n), dir_fd=at)
    os.close(at)
    os.rmdir(top)
    return made


def beyond(what, amount, bound):
    """A limit is broken when more was to be had than it allows."""
    got(f"{what}: {amount}, the limit is {bound}") if amount > bound else refused(f"more than {bound} {what}", f"{amount} at most")


# Numbers of system calls: x86-64, aarch64.
CALLS = {
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "splice": (275, 76), "tee": (276, 77),
    "vmsplice": (278, 75), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "memfd_secret": (447, 447),
    "remap_file_pages": (216, 234), "mbind": (237, 235), "set_mempolicy": (238, 237), "get_mempolicy": (239, 236),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "io_setup": (206, 0), "io_submit": (209, 2),
    "io_destroy": (207, 1), "io_getevents": (208, 4), "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190),
    "semop": (65, 193), "msgget": (68, 186), "msgsnd": (69, 189), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "reboot": (169, 142), "syslog": (103, 116), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "settimeofday": (164, 170), "sethostname": (170, 161), "setdomainname": (171, 162),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "lookup_dcookie": (212, 18), "vhangup": (153, 58),
    "personality": (135, 92), "modify_ldt": (154, -1), "iopl": (172, -1), "ioperm": (173, -1), "seccomp": (317, 277),
    "socket": (41, 198), "socketpair": (53, 199), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442),
    "landlock_create_ruleset": (444, 444), "execveat": (322, 281), "ioctl": (16, 29), "prctl": (157, 167),
    "ioprio_set": (251, 30), "setgroups": (116, 159), "setfsuid": (122, 151), "statmount": (457, 457),
    "listmount": (458, 458), "lsm_list_modules": (461, 461), "futex_waitv": (449, 449), "cachestat": (451, 451),
    "map_shadow_stack": (453, 453), "sendmsg": (46, 211), "sendto": (44, 206), "get_robust_list": (274, 100),
    "nfsservctl": (180, 42), "uselib": (134, -1), "ustat": (136, -1), "sysfs": (139, -1), "_sysctl": (156, -1),
    "create_module": (174, -1), "query_module": (178, -1), "sync": (162, 81), "syncfs": (306, 267), "sysinfo": (99, 179),
    "getpid": (39, 172), "set_mempolicy_home_node": (450, 450), "listns": (470, 470), "preadv2": (327, 286),
    "mknodat": (259, 33), "renameat2": (316, 276), "inotify_init1": (294, 26), "open_tree_attr": (467, 467),
}


def call_number(number, what, *args):
    """A system call by its number. Its success counts like any other answer of the kernel."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    error = ctypes.get_errno() if result == -1 else 0
    if result == -1 and error == T["errno"]:
        say("filtered", what, "the filter")
    else:
        say("reached", what, errno.errorcode.get(error, str(error)) if result == -1 else f"returned {result}")
    return result


def call(name, *args):
    number = CALLS[name][os.uname().machine == "aarch64"]
    if number < 0:
        say("filtered", name, "this architecture has no such call")
        return -1
    return call_number(number, name, *args)


def leave(names):
    """Shows that a jail (jails.py) was left: the code in it has got hold of the system. Then looks around."""
    thing = names["got"]
    process = thing() if callable(thing) else thing.getpid()
    if process != os.getpid():
        raise SystemExit("the jail holds: " + repr(thing))
    trick(f"{getattr(thing, '__name__', 'a function of the system')} in hand")
    loot()


if __name__ == "__main__":
    PROBE, words = sys.argv[1], int(sys.argv[2])
    with open(HERE + "/plan.json") as f:
        code = next(p["code"] for p in json.load(f)["probes"] if p["id"] == PROBE)
    if "jails." in code:
        sys.path.insert(0, HERE)
        import jails
    exec(compile(code, PROBE, "exec"), globals())
    say("end", "end")
