"""A hub on this machine: the routes of the Hugging Face hub that a download needs, and what can go wrong on them."""

import hashlib
import http.server
import json
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1024  # from this size on a file is kept outside git, as LFS does


class FakeHub:
    """Serves `models`: {"OWNER/NAME": {"path": bytes}}. What happens to a request is changed through the attributes."""

    def __init__(self, models, **changes):
        self.models = models
        self.gated = set()          # models whose files need a token
        self.token = "hf_good"      # the token that opens them
        self.license = "mit"
        self.cuts = {}              # path in a model: how often its connection is cut in mid-file
        self.wrong = {}             # path: bytes that are sent instead
        self.failures = {}          # part of a URL: list of (status, headers), used up one by one; the last one stays
        self.slow = set()           # paths of which one byte a second is sent
        self.redirect_to = None     # the address of another server that has the files
        self.tree = None            # what the list of files is instead (any JSON)
        self.information = None     # what the model's description is instead
        self.page_size = 1000
        self.requests = []          # (path, headers)
        self.__dict__.update(changes)
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            def do_HEAD(self):
                hub.answer(self)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that leaves is part of the tests

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def requested(self, part):
        """The requests whose path holds `part`."""
        return [request for request in self.requests if part in request[0]]

    def answer(self, request):
        path = urllib.parse.unquote(request.path)
        self.requests.append((path, dict(request.headers)))
        for part, failures in self.failures.items():
            if part in path and failures:
                status, headers = failures.pop(0) if len(failures) > 1 else failures[0]
                if status:
                    return send(request, status, b"", headers)
        if path.startswith("/api/models/"):
            return self.answer_api(request, path.removeprefix("/api/models/"))
        for name, files in self.models.items():
            for revision in (COMMIT, "main"):
                file = path.removeprefix(f"/{name}/resolve/{revision}/")
                if file in files:
                    return self.answer_file(request, name, file)
        return send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})

    def answer_api(self, request, path):
        name = next((name for name in self.models if path.startswith(name + "/")), None)
        if name is None:
            missing = 404 if request.headers.get("Authorization") else 401
            return send(request, missing, b"", {"X-Error-Code": "RepoNotFound"})
        rest, _, query = path.removeprefix(name + "/").partition("?")
        if rest.startswith("revision/"):
            if rest not in ("revision/main", "revision/" + COMMIT):
                return send(request, 404, b"", {"X-Error-Code": "RevisionNotFound"})
            information = {"id": name, "sha": COMMIT, "gated": "auto" if name in self.gated else False,
                           "cardData": {"license": self.license},
                           "siblings": [{"rfilename": file} for file in self.models[name]]}
            return send_json(request, information if self.information is None else self.information)
        if self.tree is not None:
            return send_json(request, self.tree)
        entries = tree_of(self.models[name])
        first = int(urllib.parse.parse_qs(query).get("cursor", ["0"])[0])
        headers = {}
        if first + self.page_size < len(entries):
            # Another host on purpose: a client with a token has to stay with the one it asked.
            target = f"https://elsewhere.invalid{request.path.partition('?')[0]}?recursive=true"
            headers["Link"] = f'<{target}&cursor={first + self.page_size}>; rel="next"'
        return send_json(request, entries[first:first + self.page_size], headers)

    def answer_file(self, request, name, path):
        if name in self.gated and request.headers.get("Authorization") != f"Bearer {self.token}":
            status = 403 if request.headers.get("Authorization") else 401
            return send(request, status, b"", {"X-Error-Code": "GatedRepo"})
        content = self.models[name][path]
        if self.redirect_to:
            headers = {"Location": f"{self.redirect_to}{request.path}", "X-Linked-Etag": f'"{etag_of(content)}"'}
            return send(request, 302, b"", headers)
        content = self.wrong.get(path, content)
        first = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": f'"{etag_of(content)}"', "X-Repo-Commit": COMMIT}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        send_head(request, 206 if first else 200, len(body), headers)
        if request.command == "HEAD":
            return None
        if self.cuts.get(path, 0):
            self.cuts[path] -= 1
            request.wfile.write(body[:len(body) // 3])
            request.close_connection = True
            return None
        if path in self.slow:
            for byte in body:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                time.sleep(1)
        request.wfile.write(body)
        return None


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag_of(content):
    """What the hub calls a content: its SHA-256 where it is large, else git's id of it."""
    return hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_id(content)


def tree_of(files):
    entries = [{"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
               for folder in sorted({path.rpartition("/")[0] for path in files} - {""})]
    for path, content in files.items():
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries


def send_head(request, status, length, headers):
    request.send_response(status)
    for name, value in {"Content-Length": length, "Connection": "close", **headers}.items():
        request.send_header(name, str(value))
    request.end_headers()
    request.close_connection = True


def send(request, status, body, headers):
    send_head(request, status, len(body), headers)
    if request.command != "HEAD":
        request.wfile.write(body)


def send_json(request, document, headers=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    send(request, 200, body, headers or {})
