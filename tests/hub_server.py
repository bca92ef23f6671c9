"""A small server that speaks as much of the hub's protocol as reading files of datasets and models, and writing those of models, needs."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port of one's own machine."""


@contextmanager
def hub(
    repos: dict[str, dict[str, bytes]],
    *,
    models: dict[str, dict[str, bytes]] | None = None,
    gated: tuple[str, ...] = (),
    broken: tuple[str, ...] = (),
    slow: float = 0.0,
    slow_files: float = 0.0,
    token: str | None = None,
) -> Iterator[str]:
    """Serve repositories (path → bytes of each file) of datasets and models; yields the endpoint.

    gated, broken: names of datasets. slow, slow_files: seconds before each answer, or before each file only. token: that writes into
    `models`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(ConnectionError):  # a client that waits no longer
                    self.wfile.write(body)

        def json(self, data: object) -> None:
            self.answer(200, json.dumps(data).encode(), Content_Type="application/json")

        def handle_any(self) -> None:
            time.sleep(slow)
            length = int(self.headers.get("Content-Length") or 0)
            posted = self.rfile.read(length)
            path = unquote(urlsplit(self.path).path).strip("/")
            parts = path.removeprefix("api/").split("/")
            if not path.startswith("api/") and parts[0] != "datasets":  # a model's files have no such word before its name
                parts = ["models", *parts]
            if (self.command == "POST" and parts[0] in ("repos", "validate-yaml")) or parts[3:4] in (["preupload"], ["commit"]):
                return self.written(parts, posted)
            repo = "/".join(parts[1:3])
            shelf = {"datasets": repos, "models": models or {}}.get(parts[0], {})
            if repo not in shelf and (parts[0] != "datasets" or (repo not in gated and repo not in broken)):
                return self.answer(401, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository Not Found")
            if repo in gated and not path.startswith("api/"):  # what a gated dataset is called may be known, its files not
                return self.answer(401, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            if repo in broken:
                return self.answer(500, b"{}")
            files, rest = shelf.get(repo, {"README.md": b""}), parts[3:]
            if not path.startswith("api/"):  # resolve/REVISION/FILE
                time.sleep(slow_files)
                name = "/".join(rest[2:])
                if name not in files:
                    return self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=COMMIT)
                return self.content(files[name])
            if not rest or rest[0] == "revision":
                siblings = [{"rfilename": name} for name in files]
                return self.json({"id": repo, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": siblings})
            if rest[0] == "tree":
                return self.json(self.tree(files, "/".join(rest[2:]), "recursive=true" in self.path.lower()))
            if rest[0] == "paths-info":
                asked = (
                    json.loads(posted)["paths"]
                    if posted.startswith(b"{")
                    else [item.split("=")[1] for item in posted.decode().split("&") if item.startswith("paths=")]
                )
                return self.json([item for item in self.tree(files, "", True) if item["path"] in [unquote(name) for name in asked]])
            return self.answer(404)

        def written(self, parts: list[str], posted: bytes) -> None:
            """Make a repository of a model, and write files into it by commits: those of the body's lines, in base64."""
            assert models is not None
            if self.headers.get("Authorization") != f"Bearer {token}":
                return self.answer(401, b"{}", X_Error_Message="Invalid username or password.")
            if parts[0] == "validate-yaml":
                return self.json({"errors": [], "warnings": []})
            if parts[0] == "repos":
                asked = json.loads(posted)
                repo = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
                models.setdefault(repo, {})
                return self.json({"url": f"http://{self.headers['Host']}/{repo}", "name": repo, "id": repo})
            if parts[3] == "preupload":
                files = [{"path": item["path"], "uploadMode": "regular", "shouldIgnore": False} for item in json.loads(posted)["files"]]
                return self.json({"files": files})
            for line in map(json.loads, posted.splitlines()):
                if line["key"] == "file":
                    models["/".join(parts[1:3])][line["value"]["path"]] = b64decode(line["value"]["content"])
            return self.json(
                {"success": True, "commitOid": COMMIT, "commitUrl": f"http://{self.headers['Host']}/{'/'.join(parts[1:3])}/commit/{COMMIT}"}
            )

        def tree(self, files: dict[str, bytes], under: str, recursive: bool) -> list[dict[str, object]]:
            by_path: dict[str, dict[str, object]] = {}
            for name, content in files.items():
                if under and not name.startswith(under + "/"):
                    continue
                tail = name[len(under) + 1 if under else 0 :].split("/")
                for depth in range(1, len(tail)):
                    folder = "/".join(filter(None, [under, *tail[:depth]]))
                    if recursive or depth == 1:
                        by_path[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
                if recursive or len(tail) == 1:
                    by_path[name] = {"type": "file", "oid": sha256(content).hexdigest()[:40], "size": len(content), "path": name}
            return list(by_path.values())

        def content(self, body: bytes) -> None:
            headers = {"ETag": f'"{sha256(body).hexdigest()[:40]}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
            span = self.headers.get("Range")
            if span and self.command == "GET":
                first, _, last = span.removeprefix("bytes=").partition("-")
                end = min(int(last) if last else len(body) - 1, len(body) - 1)
                return self.answer(206, body[int(first) : end + 1], Content_Range=f"bytes {first}-{end}/{len(body)}", **headers)
            return self.answer(200, body, **headers)

        do_GET = do_HEAD = do_POST = handle_any

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
