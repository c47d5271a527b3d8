"""What a person reads in JupyterLab's dialog when the gateway refuses a start: jupyter_server's own error message."""

import json

from labserver import LabServer


def main():
    with LabServer() as server:
        answer = server.call("POST", "/api/kernels", {"name": server.call("GET", "/api/kernelspecs").json()["default"]})
        print(json.dumps({"status": answer.status_code, "message": answer.json().get("message")}))


if __name__ == "__main__":
    main()
