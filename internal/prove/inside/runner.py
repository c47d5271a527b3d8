# Runs the probes of plan.json one after the other, each as a process of its own, and tells the host what they did.
# Runs inside the place that the probes try to leave, as the same user: it trusts none of them. Its words are lines
#
#   cellblock <number> <json, base64> <HMAC-SHA256 of both by a key that the first line has>
#
# on standard output, which only the host reads. No probe runs before the key is written, and none can look into this
# process afterwards: so nobody else can write a line that the host believes.
import base64
import ctypes
import hashlib
import hmac
import json
import os
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_OUTPUT = 8 << 10  # of one probe: the host keeps all of it
CHUNK = 1500  # bytes in one line, which stays below what a pipe takes at once
PR_SET_DUMPABLE = 4

key = os.urandom(32)
number = 0
sweep = False


def write(line):
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def tell(**what):
    global number
    body = base64.b64encode(json.dumps(what).encode()).decode()
    number += 1
    text = f"cellblock {number} {body}"
    write(f"{text} {hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}")


def tell_bytes(kind, probe, data):
    for at in range(0, len(data), CHUNK):
        tell(kind=kind, probe=probe, data=base64.b64encode(data[at : at + CHUNK]).decode())


def end_strays(leader):
    """Kills whatever a probe has left: its own group, and all processes but this one where all that can be seen are its
    tenant's. Several rounds, since a process may fork while it is looked at."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError:
        pass
    for _ in range(3 if sweep else 0):
        found = 0
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in (1, os.getpid()):
                try:
                    os.kill(int(name), signal.SIGKILL)
                    found += 1
                except OSError:
                    pass
        if not found:
            break
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break


def collect(process, pipes, timeout):
    """Reads what the probe writes until it ends, and says why it was ended if it was."""
    taken = {fd: b"" for fd in pipes}
    end = time.monotonic() + timeout
    why = ""
    open_fds = set(pipes)
    while open_fds and not why:
        left = end - time.monotonic()
        if left <= 0:
            why = "timeout"
            break
        ready, _, _ = select.select(list(open_fds), [], [], min(left, 0.2))
        for fd in ready:
            data = os.read(fd, 4096)
            taken[fd] += data
            if not data:
                open_fds.discard(fd)
            if len(taken[fd]) > MAX_OUTPUT:
                taken[fd] = taken[fd][:MAX_OUTPUT]
                why = "flood"
        if process.poll() is not None and not ready:
            break  # a child of its may hold the pipes open
    if why or process.poll() is None:
        process.kill()
    process.wait()
    return [taken[fd] for fd in pipes], why


def run(probe):
    tell(kind="begin", probe=probe["id"])
    out, out_child = os.pipe()
    said, said_child = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", HERE + "/probe.py", probe["id"], str(said_child)],
        stdin=subprocess.DEVNULL, stdout=out_child, stderr=out_child, pass_fds=(said_child,), start_new_session=True,
    )
    os.close(out_child)
    os.close(said_child)
    (output, words), why = collect(process, (out, said), probe["timeout"])
    os.close(out)
    os.close(said)
    end_strays(process.pid)
    tell_bytes("output", probe["id"], output)
    tell_bytes("words", probe["id"], words)
    tell(kind="end", probe=probe["id"], why=why, code=process.returncode)


def main():
    global sweep
    hidden = ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    for number_of_signal in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number_of_signal, lambda *_: None)  # probes send them
    os.chdir(os.environ.get("HOME", "/"))
    write("cellblock key " + key.hex())
    tell(kind="ready", hidden=hidden, python=sys.version.split()[0])
    with open(HERE + "/plan.json") as f:
        plan = json.load(f)
    if plan.get("neighbour"):
        sys.path.insert(0, HERE)
        import neighbour

        neighbour.run(plan["neighbour"], tell)
    # Never where it could be the machine: there it would end everything.
    sweep = plan["sweep"] and os.getppid() <= 1 and os.getuid() != 0
    for probe in plan["probes"]:
        run(probe)
    tell(kind="done")
    while True:  # the host looks at what is left, then ends this
        time.sleep(3600)


if __name__ == "__main__":
    main()
