"""What a person reads in JupyterLab's dialog when the gateway refuses a start: jupyter_server's own error message."""

import json

from labserver import LabServer


def main():
    with LabServer() as server:
        name = server.call("GET", "/api/kernelspecs").json()["default"]
        # As a new notebook does it. POST /api/kernels would answer with the message's bare pattern, "[%s] %s".
        body = {"path": "refused.ipynb", "name": "refused.ipynb", "type": "notebook", "kernel": {"name": name}}
        answer = server.call("POST", "/api/sessions", body)
        print(json.dumps({"status": answer.status_code, "message": answer.json().get("message")}))


if __name__ == "__main__":
    main()
