"""The kernel WebSocket in its JSON format, as far as the test scripts need it."""

import json
import time
import uuid
from dataclasses import dataclass, field

import websocket


@dataclass
class Result:
    """What one cell gave: its execute_reply's content and all iopub messages with it as their parent."""

    reply: dict = None
    idle: bool = False
    outputs: list = field(default_factory=list)

    @property
    def text(self):
        return "".join(m["content"]["text"] for m in self.outputs if m["msg_type"] == "stream")

    def data(self, mime):
        """The first display of that MIME type, or None."""
        for message in self.outputs:
            found = message["content"].get("data", {}).get(mime)
            if found:
                return found
        return None


class Channels:
    """One open WebSocket of a kernel. Not for several threads."""

    def __init__(self, url, kernel, token):
        self.session = uuid.uuid4().hex
        address = f"{url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?session_id={self.session}"
        self.socket = websocket.create_connection(address, timeout=60, header=[f"Authorization: token {token}"])

    def close(self):
        self.socket.close()

    def send(self, channel, msg_type, content, parent=None):
        """Sends one message and returns its id."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, "session": self.session, "username": "e2e", "version": "5.3"}
        message = {"channel": channel, "header": header, "parent_header": parent or {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message))
        return header["msg_id"]

    def receive(self, deadline):
        """The next message; TimeoutError when none comes before the deadline (of time.monotonic)."""
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                opcode, frame = self.socket.recv_data_frame(control_frame=True)  # returns for pings too, having answered them
            except websocket.WebSocketTimeoutException:
                break
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise ConnectionError(f"the WebSocket was closed: {frame.data!r}")
            if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
                return json.loads(frame.data)
        raise TimeoutError("no message in time")

    def start(self, code, stdin=False):
        """Sends a cell and returns its message id; `finish` collects what it gives."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": stdin, "stop_on_error": True}
        return self.send("shell", "execute_request", content)

    def finish(self, cell, seconds=60, answer=None, until=None, result=None):
        """Reads until the cell has its reply and its idle, or `until(result)` is true; goes on with an earlier result. `answer` goes to each input_request."""
        result, deadline = result or Result(), time.monotonic() + seconds
        while not (result.reply and result.idle):
            try:
                message = self.receive(deadline)
            except TimeoutError:
                raise TimeoutError(f"cell unfinished after {seconds} s: reply {result.reply}, idle {result.idle}, {result.text!r}") from None
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "execute_reply":
                result.reply = message["content"]
            elif message["msg_type"] == "input_request":
                self.send("stdin", "input_reply", {"value": answer}, message["header"])
            elif message["channel"] == "iopub":
                result.outputs.append(message)
                result.idle |= message["content"].get("execution_state") == "idle"
            if until and until(result):
                break
        return result

    def run(self, code, **how):
        """Runs one cell to its end."""
        return self.finish(self.start(code, stdin="answer" in how), **how)
