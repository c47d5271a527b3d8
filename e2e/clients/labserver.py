"""A real jupyter_server or JupyterLab in gateway mode, private to one test.

As a program (`labserver.py lab`) it prints one JSON line with its address and token and serves until its standard input ends.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

START_SECONDS = 60


class LabServer:
    """`jupyter server` (or `lab`) with its kernels on the gateway at CELLBLOCK_URL. A context manager; stops what it started."""

    def __init__(self, app="server"):
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = tempfile.TemporaryDirectory(prefix="labserver-")
        self.notebooks = Path(self.home.name, "notebooks")
        self.notebooks.mkdir()
        logs = Path(os.environ.get("E2E_ARTEFACTS") or self.home.name)
        self.log = open(logs / f"{Path(sys.argv[0]).stem}-jupyter-{app}.log", "w")
        command = [
            sys.executable, "-m", f"jupyter{'lab' if app == 'lab' else '_server'}",
            "--no-browser", "--allow-root", f"--port={self.port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.notebooks}", f"--IdentityProvider.token={self.token}",
            f"--gateway-url={os.environ['CELLBLOCK_URL']}",
        ]
        self.process = subprocess.Popen(command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def environment(self):
        """This process's environment, without any Jupyter settings of the person who runs the test."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        for kind in ("CONFIG", "DATA", "RUNTIME"):
            env[f"JUPYTER_{kind}_DIR"] = os.path.join(self.home.name, kind.lower())
        env["JUPYTERLAB_SETTINGS_DIR"] = str(self.settings())
        env["JUPYTERLAB_WORKSPACES_DIR"] = os.path.join(self.home.name, "workspaces")
        env["JUPYTER_GATEWAY_AUTH_TOKEN"] = os.environ["CELLBLOCK_TOKEN"]
        return env

    def settings(self):
        """A directory of user settings in which Lab's two calls to the outside world (news, updates) are off."""
        file = Path(self.home.name, "settings", "@jupyterlab", "apputils-extension", "notification.jupyterlab-settings")
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
        return file.parents[2]

    def __enter__(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/api", timeout=5).ok:
                    return self
            except requests.ConnectionError:
                time.sleep(0.1)  # between two polls of a server that does not listen yet
        self.__exit__()
        raise RuntimeError(f"jupyter did not start; see {self.log.name}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.home.cleanup()

    def call(self, method, path, body=None):
        """One REST call to this server (not to the gateway). Returns the response, whatever its status."""
        return requests.request(
            method, f"{self.url}{path}", json=body, timeout=60, headers={"Authorization": f"token {self.token}"}
        )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


if __name__ == "__main__":
    with LabServer(*sys.argv[1:]) as server:
        print(json.dumps({"url": server.url, "token": server.token}), flush=True)
        sys.stdin.read()
