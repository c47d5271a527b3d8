"""A real jupyter_server in gateway mode: start, execute, plot, input(), interrupt, restart, shut down."""

import base64
import json
import time

from channels import Channels
from labserver import LabServer

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def call(server, method, path, status, body=None):
    answer = server.call(method, path, body)
    expect(answer.status_code == status, f"{method} {path}: {answer.status_code} instead of {status}: {answer.text}")
    return answer.json() if answer.content else None


def cells(channels):
    result = channels.run("x = 6 * 7\nprint(x)")
    expect(result.text == "42\n", f"print: {result.text!r}")

    png = channels.run(PLOT).data("image/png")
    expect(png and base64.b64decode(png).startswith(b"\x89PNG"), "plot: no PNG")

    result = channels.run("print('hello', input('who? '))", answer="you")
    expect(result.text == "hello you\n", f"input: {result.text!r}")


def interrupt(server, kernel, channels):
    """Returns the seconds from the interrupt to the end of the sleeping cell."""
    cell = channels.start("import time\nprint('asleep', flush=True)\ntime.sleep(60)")
    channels.finish(cell, until=lambda so_far: so_far.text == "asleep\n")
    began = time.monotonic()
    call(server, "POST", f"/api/kernels/{kernel}/interrupt", 204)
    result = channels.finish(cell, seconds=10)
    expect(result.reply["status"] == "error" and result.reply["ename"] == "KeyboardInterrupt", f"interrupt: {result.reply}")
    return time.monotonic() - began


def restart(server, kernel, channels):
    """Returns the seconds that the restart took. The cell goes out the moment the restart is confirmed."""
    began = time.monotonic()
    call(server, "POST", f"/api/kernels/{kernel}/restart", 200)
    seconds = time.monotonic() - began
    result = channels.run("print('x' in globals())")
    expect(result.text == "False\n", f"after the restart: {result.text!r}")
    return seconds


def main():
    with LabServer() as server:
        specs = call(server, "GET", "/api/kernelspecs", 200)
        body = {"path": "e2e.ipynb", "name": "e2e.ipynb", "type": "notebook", "kernel": {"name": specs["default"]}}
        session = call(server, "POST", "/api/sessions", 201, body)
        kernel = session["kernel"]["id"]
        expect(kernel in [k["id"] for k in call(server, "GET", "/api/kernels", 200)], "the kernel is not listed")

        channels = Channels(server.url, kernel, server.token)
        cells(channels)
        interrupted = interrupt(server, kernel, channels)
        restarted = restart(server, kernel, channels)
        channels.close()

        call(server, "DELETE", f"/api/kernels/{kernel}", 204)
        call(server, "GET", f"/api/kernels/{kernel}", 404)
        print(json.dumps({"kernel": kernel, "interrupt_s": round(interrupted, 2), "restart_s": round(restarted, 2)}))


if __name__ == "__main__":
    main()
