# The second tenant: has secrets of every kind, and tells the host whatever it notices of the first.
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

F_GETPIPE_SZ = 1032
LOOK_EVERY = 0.1


def plant(mark, secrets):
    """Puts the secrets where a tenant's secrets are, and returns the files."""
    files = {
        os.environ["HOME"] + "/secret": secrets["home"],
        "/tmp/secret": secrets["tmp"],
        "/dev/shm/" + mark + "-neighbour": secrets["memory"],
    }
    for path, text in files.items():
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o666)
    idle = "import time; time.sleep(1e6)"
    subprocess.Popen([sys.executable, "-c", idle, mark + "-" + secrets["argument"]], stdin=subprocess.DEVNULL)
    return files


def listen(family, address, kind=socket.SOCK_STREAM):
    s = socket.socket(family, kind)
    s.bind(address)
    if kind == socket.SOCK_STREAM:
        s.listen(16)
    return s


def serve(sockets, secret, notice):
    """Answers whoever connects with the secret and tells who it was."""
    while True:
        ready, _, _ = select.select(sockets, [], [])
        for s in ready:
            try:
                conn, _ = s.accept()
                conn.settimeout(1)
                conn.sendall(secret.encode())
                knock = conn.recv(200)
                conn.close()
            except OSError as err:
                knock = str(err).encode()
            notice("connection", knock.decode(errors="replace"))


def pipe_capacity():
    r, w = os.pipe()
    try:
        return fcntl.fcntl(w, F_GETPIPE_SZ)
    finally:
        os.close(r)
        os.close(w)


def can_watch():
    fd = ctypes.CDLL(None).inotify_init()
    if fd < 0:
        return False
    os.close(fd)
    return True


def run(what, tell):
    def notice(kind, detail):
        tell(kind="notice", what=kind, detail=detail)

    for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(n, lambda number, _: notice("signal", str(number)))
    ctypes.CDLL(None).shmget(0, 4096, 0o1600)  # goes with the name space
    files = plant(what["mark"], what["secrets"])
    sockets = [listen(socket.AF_INET, ("127.0.0.1", what["port"])), listen(socket.AF_UNIX, "\0" + what["abstract"])]
    threading.Thread(target=serve, args=(sockets, what["secrets"]["socket"], notice), daemon=True).start()
    usual = pipe_capacity()
    tell(kind="settled", capacity=usual)
    told = {}
    while True:
        time.sleep(LOOK_EVERY)
        capacity = pipe_capacity()
        now = {
            "its pipes hold less": "" if capacity == usual else f"{capacity} bytes",
            "it can watch no files": "" if can_watch() else "any more",
        }
        for path, text in files.items():
            try:
                with open(path) as f:
                    now[path] = "" if f.read() == text else "changed"
            except OSError as err:
                now[path] = str(err)
        for about, detail in now.items():
            if detail and told.get(about) != detail:
                notice(about, detail)
            told[about] = detail
