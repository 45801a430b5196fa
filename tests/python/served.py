"""Starts the server as a person would, on a free port of the loopback, and talks with it."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import time

import program


class Server:
    """`salient serve` with these arguments; ends when the block does."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen(
            [program.PROGRAM, "serve", *map(str, arguments), "--port", "0"], env=program.environment(**(env or {})),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if not found:
            raise RuntimeError(f"the server does not start: {line}{self.process.stderr.read()}")
        self.port = int(found.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stop()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self):
        """Asks it to end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, headers=None):
        """Status, headers and body of one request; a body that is no text is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def ask(self, path, body=None, **options):
        """The JSON that answers a request, which must succeed."""
        status, _, text = self.request("GET" if body is None else "POST", path, body, **options)
        if status != 200:
            raise AssertionError(f"{path}: {status} {text}")
        return json.loads(text)

    def refused(self, path, body, **options):
        """The status and the error object of a request, which must fail."""
        status, _, text = self.request("POST", path, body, **options)
        error = json.loads(text)["error"]
        if not {"message", "type", "param", "code"} <= set(error):
            raise AssertionError(text)
        return status, error

    def metric(self, name):
        """The sum of a metric over its labels."""
        _, _, text = self.request("GET", "/metrics")
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        if not values:
            raise AssertionError(f"no metric {name} in {text}")
        return sum(map(float, values))

    def wait_until_idle(self):
        """Waits until no reply runs or waits."""
        for _ in range(1000):
            if self.metric("salient_requests_running") == 0 and self.metric("salient_requests_waiting") == 0:
                return
            time.sleep(0.02)
        raise AssertionError("replies run on")

    def raw(self, data):
        """A socket over which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(data)
        return connection
