"""A cell that counts for 20 s in a real jupyter_server in gateway mode. Whatever happens to the gateway meanwhile, each
number must arrive once, in order, and the reply too. Prints a line when a quarter has arrived: time for a disturbance."""

import json

from channels import Channels
from labserver import LabServer

NUMBERS = 1000
CELL = f"import time\nfor i in range({NUMBERS}):\n    print(i, flush=True)\n    time.sleep(0.02)"


def main():
    with LabServer() as server:
        kernel = server.call("POST", "/api/kernels", {}).json()["id"]
        channels = Channels(server.url, kernel, server.token)
        channels.run("kept = 42")
        cell = channels.start(CELL)
        result = channels.finish(cell, until=lambda so_far: f"\n{NUMBERS // 4}\n" in so_far.text)
        print(json.dumps({"numbers": NUMBERS // 4}), flush=True)
        result = channels.finish(cell, seconds=90, result=result)

        got, wanted = result.text, "".join(f"{i}\n" for i in range(NUMBERS))
        if got != wanted:
            same = next((i for i, (g, w) in enumerate(zip(got, wanted)) if g != w), min(len(got), len(wanted)))
            raise AssertionError(f"the numbers differ after {got[max(0, same - 60) : same]!r}: then {got[same : same + 60]!r}")
        if result.reply["status"] != "ok" or channels.run("print(kept)").text != "42\n":
            raise AssertionError(f"not the same kernel any more: {result.reply}")
        print(json.dumps({"kernel": kernel, "numbers": NUMBERS}))


if __name__ == "__main__":
    main()
