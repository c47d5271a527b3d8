"""jupyter-kernel-client with its defaults: run, fail, restart, end."""

import json
import os

import requests
from jupyter_kernel_client import JupyterKernelClient

URL, TOKEN = os.environ["CELLBLOCK_URL"], os.environ["CELLBLOCK_TOKEN"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def text(reply):
    return "".join(o["text"] for o in reply["outputs"] if o["output_type"] == "stream")


def expect_gone(kernel):
    answer = requests.get(f"{URL}/api/kernels/{kernel}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    expect(answer.status_code == 404, f"the kernel is still there: {answer.status_code} {answer.text}")


def main():
    with JupyterKernelClient(server_url=URL, token=TOKEN) as client:
        kernel = client.id
        expect(kernel in [k["id"] for k in client.list_kernels()], "the kernel is not listed")
        expect(client.kernel_info["implementation"] == "ipython", f"kernel_info: {client.kernel_info}")

        reply = client.execute("x = 6 * 7\nprint(x)")
        expect(reply["status"] == "ok" and text(reply) == "42\n", f"print: {reply}")
        reply = client.execute("1 / 0")
        expect(reply["status"] == "error" and reply["outputs"][0]["ename"] == "ZeroDivisionError", f"error: {reply}")

        client.restart()
        # Sent the moment the restart is confirmed, over the WebSocket from before it. A plain jupyter_server may lose this cell.
        expect(text(client.execute("print('x' in globals())", timeout=20)) == "False\n", "restart")
    expect_gone(kernel)
    print(json.dumps({"kernel": kernel}))


if __name__ == "__main__":
    main()
