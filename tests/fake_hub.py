"""A hub of one's own: a server on this machine that speaks the few calls that huggingface_hub makes of the real one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import huggingface_hub
from huggingface_hub import constants


class FakeHub:
    """Repositories as lists of commits, each a mapping from file names to contents, and what was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.private: set[str] = set()
        self.refused = False

    def put(self, repo: str, **files: bytes) -> None:
        """Add a commit with these files; the last dot of a name is given as two underscores."""
        told = {".".join(name.rsplit("__", 1)): content for name, content in files.items()}
        self.commits.setdefault(repo, []).append({**self.newest(repo), **told})

    def newest(self, repo: str) -> dict[str, bytes]:
        commits = self.commits.get(repo, [])
        return commits[-1] if commits else {}

    def sha(self, repo: str, number: int = -1) -> str:
        number %= len(self.commits[repo])
        return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()

    def at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """The commit of a revision: its hash, the beginning of it is no name, and its files."""
        for number, files in enumerate(self.commits[repo]):
            if revision == self.sha(repo, number) or (revision == "main" and files is self.newest(repo)):
                return self.sha(repo, number), files
        raise KeyError(revision)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        try:
            if self.hub.refused:
                self._send(401, {"error": "Invalid username or password."})
            else:
                self._route(path.strip("/").split("/"), body)
        except KeyError:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _route(self, parts: list[str], body: bytes) -> None:
        match parts:
            case ["api", "repos", "create"]:
                told = json.loads(body)
                repo = f"{told.get('organization') or 'user'}/{told['name']}"
                self.hub.commits.setdefault(repo, [])
                self.hub.private |= {repo} if told.get("private") or told.get("visibility") == "private" else set()
                self._send(200, {"url": f"{self.hub.url}/{repo}", "name": repo})
            case ["api", "validate-yaml"]:
                self._send(200, {"errors": [], "warnings": []})
            case ["api", "models", user, name, "preupload", _]:
                files = [{"path": file["path"]} for file in json.loads(body)["files"]]
                modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                self._send(200, {"files": [file | modes for file in files]})
                assert f"{user}/{name}" in self.hub.commits
            case ["api", "models", user, name, "commit", _]:
                self._commit(f"{user}/{name}", [json.loads(line) for line in body.splitlines() if line])
            case ["api", "models", user, name, "revision", revision]:
                self._info(f"{user}/{name}", revision)
            case ["api", "models", user, name, "tree", revision, *_]:
                _, content = self.hub.at(f"{user}/{name}", revision)
                entries = [
                    {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for file, data in content.items()
                ]
                self._send(200, entries)
            case [user, name, "resolve", revision, file]:
                self._file(f"{user}/{name}", revision, file)
            case _:
                raise KeyError(parts)

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        self.hub.commits[repo].append({**self.hub.newest(repo), **files})
        sha = self.hub.sha(repo)
        url = f"{self.hub.url}/{repo}/commit/{sha}"
        self._send(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    def _info(self, repo: str, revision: str) -> None:
        sha, files = self.hub.at(repo, revision)
        self._send(200, {"id": repo, "sha": sha, "private": False, "siblings": [{"rfilename": name} for name in files]})

    def _file(self, repo: str, revision: str, name: str) -> None:
        sha, files = self.hub.at(repo, revision)
        self.send_response(200)
        for header, value in {
            "X-Repo-Commit": sha,
            "ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"',
            "Content-Length": str(len(files[name])),
        }.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(files[name])

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(monkeypatch: Any, cache: Any) -> Iterator[FakeHub]:
    """Serve a hub, and make it the one that huggingface_hub asks, with an empty cache and an account of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    _Handler.hub = hub
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_a_token_of_nobody")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
