"""A client made of jupyter_client, as notebooks' tools have it, for the direct rows of the benchmark.

client.py CONNECTION_FILE kernel_info|execute COUNT   how long each answer took, in microseconds, one a line
client.py CONNECTION_FILE cell CODE                   seconds until reply and idle, characters of output, and displays
"""

import sys
import time

from jupyter_client import BlockingKernelClient

PATIENCE = 60


def answer(client, request, want_idle, outputs):
    """Waits for the reply to a request and, if wanted, for its idle, and adds the types and texts of its outputs."""
    idle = not want_idle
    while not idle:
        message = client.get_iopub_msg(timeout=PATIENCE)
        content = message["content"]
        if message["parent_header"].get("msg_id") == request:
            idle = content.get("execution_state") == "idle"
            outputs.append((message["msg_type"], content.get("text", "")))
    while client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != request:
        pass


def main():
    path, kind, argument = sys.argv[1:]
    client = BlockingKernelClient(connection_file=path)
    client.load_connection_file()
    client.start_channels(stdin=False, hb=False)
    client.wait_for_ready(timeout=PATIENCE)
    if kind == "cell":
        outputs = []
        start = time.monotonic()
        answer(client, client.execute(argument, store_history=False), True, outputs)
        print(time.monotonic() - start)
        print(sum(len(text) for _, text in outputs))
        print(sum(kind == "display_data" for kind, _ in outputs))
    else:
        for _ in range(int(argument)):
            start = time.monotonic()
            request = client.kernel_info() if kind == "kernel_info" else client.execute("", store_history=False)
            answer(client, request, kind == "execute", [])
            print((time.monotonic() - start) * 1e6)
    client.stop_channels()


main()
