"""What ordinary work in a notebook needs, group by group. Runs inside a kernel's container and says for each group "ok"
or what went wrong. It is a file in the workspace: processes that are spawned import it again."""

import json
import os
import sys
import traceback

os.chdir(os.path.expanduser("~"))
verdicts = {}


def group(f):
    """Runs f, in the order of this file, when it is the program."""
    if __name__ == "__main__":
        try:
            f()
            verdicts[f.__name__] = "ok"
        except BaseException:
            verdicts[f.__name__] = traceback.format_exc()
    return f


def square(n):
    return n * n


def shared_sum(name):
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(name=name)
    try:
        return sum(block.buf)
    finally:
        block.close()


@group
def numpy_with_threads():
    import numpy as np

    a = np.random.default_rng(1).random((600, 600))
    assert np.allclose(a @ np.linalg.inv(a), np.eye(600), atol=1e-6)
    assert os.cpu_count() == 1 or len(os.listdir("/proc/self/task")) > 1


@group
def numpy_files():
    import numpy as np

    m = np.memmap("m.dat", dtype="f8", mode="w+", shape=(1000,))
    m[:] = 2
    m.flush()
    assert np.fromfile("m.dat").sum() == 2000
    np.savez("m.npz", m=m)
    assert np.load("m.npz")["m"].shape == (1000,)


@group
def pandas_frames():
    import pandas as pd

    frame = pd.DataFrame({"a": range(1000), "b": pd.date_range("2026-01-01", periods=1000, tz="Europe/Berlin")})
    frame.to_csv("f.csv")
    assert pd.read_csv("f.csv", parse_dates=["b"]).groupby(frame.a % 7).a.sum().sum() == 499500


@group
def scipy_solvers():
    import numpy as np
    from scipy import fft, integrate, optimize, sparse
    from scipy.sparse.linalg import spsolve

    assert abs(integrate.quad(np.sin, 0, np.pi)[0] - 2) < 1e-9
    assert optimize.minimize(lambda x: (x - 3) ** 2, 0).success
    assert spsolve(sparse.eye(10, format="csc"), np.ones(10)).sum() == 10
    assert fft.fft(np.ones((64, 64)), workers=4).shape == (64, 64)


@group
def matplotlib_png():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.plot([1, 2, 3])
    plt.savefig("p.png")
    assert open("p.png", "rb").read(4) == b"\x89PNG"


@group
def threads():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(square, range(100))) == 328350


@group
def multiprocessing_ways():
    import multiprocessing as mp

    for way in "fork", "spawn", "forkserver":
        with mp.get_context(way).Pool(2) as pool:
            assert pool.map(square, range(10))[-1] == 81, way


@group
def multiprocessing_sharing():
    import multiprocessing as mp
    from multiprocessing import shared_memory

    context = mp.get_context("spawn")
    with context.Manager() as manager:
        shared = manager.dict(a=1)
        assert shared["a"] == 1
    value, lock, queue = context.Value("i", 7), context.Lock(), context.Queue()
    with lock:
        value.value += 1
    queue.put(value.value)
    assert queue.get(timeout=20) == 8
    block = shared_memory.SharedMemory(create=True, size=4096)
    try:
        block.buf[:3] = bytes([1, 2, 3])
        with context.Pool(1) as pool:
            assert pool.apply(shared_sum, (block.name,)) == 6
    finally:
        block.close()
        block.unlink()


@group
def process_pools():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        assert sum(pool.map(square, range(10))) == 285


@group
def subprocesses():
    import subprocess

    assert subprocess.run("echo a | tr a b; exit 3", shell=True, capture_output=True).stdout == b"b\n"
    assert subprocess.check_output([sys.executable, "-c", "print(6*7)"]) == b"42\n"
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    child.terminate()
    assert child.wait(10) == -15


@group
def pseudo_terminals():
    import pexpect

    shell = pexpect.spawn("/bin/sh", timeout=20, dimensions=(30, 100))
    shell.sendline("stty size; tty")
    shell.expect("30 100")
    shell.expect("/dev/pts/")
    shell.close(force=True)


@group
def asyncio_everything():
    import asyncio
    import socket

    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def main():
        servers = await asyncio.start_server(serve, "127.0.0.1", 0), await asyncio.start_unix_server(serve, "a.sock")
        for connect in (asyncio.open_connection(*servers[0].sockets[0].getsockname()), asyncio.open_unix_connection("a.sock")):
            reader, writer = await connect
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
            writer.close()
        for server in servers:
            server.close()
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        assert (await child.communicate(b"x"))[0] == b"x"
        assert await asyncio.to_thread(square, 3) == 9
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(100)))

    asyncio.run(main())
    a, b = socket.socketpair()
    socket.send_fds(a, [b"x"], [0])
    assert socket.recv_fds(b, 1, 1)[0] == b"x"
    assert ("lo" in dict(socket.if_nameindex()).values()) and socket.getaddrinfo("localhost", 80)


@group
def zeromq():
    import zmq

    context = zmq.Context()
    for address in "ipc:///tmp/z", "tcp://127.0.0.1:*", "inproc://z":
        one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        one.bind(address)
        other.connect(one.last_endpoint)
        other.send(b"x")
        assert one.recv() == b"x"
        one.close(), other.close()
    context.term()


@group
def databases():
    import sqlite3

    base = sqlite3.connect("d.sqlite")
    base.execute("pragma journal_mode=wal")
    base.execute("create table if not exists t(a)")
    base.executemany("insert into t values(?)", ((i,) for i in range(1000)))
    base.commit()
    assert base.execute("select count(*) from t").fetchone()[0] >= 1000
    base.close()


@group
def foreign_functions():
    import ctypes
    import ctypes.util

    libm = ctypes.CDLL("libm.so.6")
    libm.cos.restype, libm.cos.argtypes = ctypes.c_double, [ctypes.c_double]
    assert libm.cos(0) == 1
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    ctypes.CDLL(None).qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
    assert list(numbers) == [1, 2, 3]


@group
def signals():
    import signal

    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.sigtimedwait([signal.SIGUSR2], 0.2)
    assert seen == [1]
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("no KeyboardInterrupt")
    except KeyboardInterrupt:
        pass
    assert signal.pidfd_send_signal is not None
    fd = os.pidfd_open(os.getpid())
    signal.pidfd_send_signal(fd, 0)
    os.close(fd)


@group
def files():
    import fcntl
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as d, open(d + "/a", "wb") as f:
        f.write(os.urandom(1 << 20))
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        os.posix_fallocate(f.fileno(), 0, 2 << 20)
        shutil.copyfile(d + "/a", "copy")
        shutil.copytree(d, "tree", dirs_exist_ok=True)
        os.mkfifo(d + "/fifo")
        os.symlink("a", d + "/link")
        os.rename(d + "/link", d + "/moved")
        assert os.path.getsize("copy") == 2 << 20 and os.preadv(os.open("copy", 0), [bytearray(8)], 0) == 8
    assert os.sync() is None and os.statvfs("/tmp").f_files > 0


@group
def the_machine():
    import platform

    import psutil

    assert psutil.cpu_count() and psutil.virtual_memory().total and psutil.Process().memory_info().rss
    assert os.sched_getaffinity(0) and 0 < os.sysconf("SC_PHYS_PAGES") < 1 << 36 and platform.uname().system == "Linux"
    assert "lo" in psutil.net_if_addrs()


@group
def pip_installs():
    import importlib
    import subprocess
    import zipfile

    with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "answer = 42\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    subprocess.check_output([sys.executable, "-m", "pip", "install", "--no-index", "./tiny-1.0-py3-none-any.whl"], stderr=-2)
    importlib.invalidate_caches()
    assert importlib.import_module("tiny").answer == 42


@group
def notebook():
    """A kernel within the kernel: a plot in the cell, a shell command, an interrupt, the debugger."""
    import time

    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        outputs = []
        code = "%matplotlib inline\nimport matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()\n!echo from $((1+1))\n%timeit -n1 -r1 1"
        reply = client.execute_interactive(code, timeout=60, output_hook=outputs.append)
        text = json.dumps([o["content"] for o in outputs], default=str)
        assert reply["content"]["status"] == "ok" and "image/png" in text and "from 2" in text, text
        waiting = client.execute("import time; time.sleep(60)")
        time.sleep(1)  # the cell must be running; it says nothing itself
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=20))["parent_header"].get("msg_id") != waiting:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        for seq, (command, arguments) in enumerate([("initialize", {"clientID": "t", "adapterID": "python"}), ("attach", {})]):
            message = client.session.msg("debug_request", {"type": "request", "seq": seq, "command": command, "arguments": arguments})
            client.control_channel.send(message)
            if command == "initialize":
                assert client.get_control_msg(timeout=30)["content"]["success"]
        client.control_channel.send(client.session.msg("debug_request", {"type": "request", "seq": 9, "command": "debugInfo"}))
        while (reply := client.get_control_msg(timeout=30))["content"].get("command") != "debugInfo":
            pass
        assert reply["content"]["success"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    print(json.dumps(verdicts))
