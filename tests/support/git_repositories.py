"""Git repositories made for tests, served over git:// as well as http://."""

import os
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.free_port import free_port, wait_for_port

_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "1580526245 +0000",
    "GIT_COMMITTER_DATE": "1580526245 +0000",
}
COMMIT_TIME_S = 1580526245
_START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Repository:
    """A repository with a work tree, its branch `main`."""

    path: Path

    @classmethod
    def create(cls, path: Path, *options: str) -> "Repository":
        """An empty one."""
        path.mkdir(parents=True)
        repository = cls(path)
        repository.git("init", "-q", "-b", "main", *options)
        return repository

    def git(self, *arguments: str) -> str:
        """Run git in it; the result is what it prints."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**os.environ, **_ENVIRONMENT},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(
        self,
        files: Mapping[str, str] | None = None,
        *,
        links: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> str:
        """Commit files, symlinks, commits of submodules; the result is the commit's hash."""
        for name, content in (files or {}).items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        for name, target in (links or {}).items():
            os.symlink(target, self.path / name)
        self.git("add", "-A")
        for name, commit in (modules or {}).items():
            self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{name}")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """Serve the directory; gives `git://host:port`."""
    port = free_port()
    command = ["git", "daemon", "--export-all", f"--base-path={root}", "--reuseaddr"]
    process = subprocess.Popen(
        [*command, "--listen=127.0.0.1", f"--port={port}"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_port(port, timeout_s=_START_TIMEOUT_S)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


class GitOverHttp:
    """Serves a directory by `git http-backend`, to those who have the credentials where there are any.

    `tls` is a certificate with its key, to speak https.
    """

    def __init__(
        self, root: Path, *, userinfo: str = "", redirect_to: str = "", tls: tuple[Path, Path] | None = None
    ) -> None:
        self.root = root
        self.redirect_to = redirect_to
        self.wanted = f"Basic {b64encode(userinfo.encode()).decode()}" if userinfo else ""
        self.seen: list[str | None] = []
        """The Authorization of each request."""
        self._server = _Server(self)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake is the handler's: a client that refuses the certificate stops nobody else.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "GitOverHttp":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, git: GitOverHttp) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.git = git

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        authorization = self.headers.get("authorization")
        server.git.seen.append(authorization)
        if server.git.redirect_to:
            self.send_response(302)
            self.send_header("Location", server.git.redirect_to + self.path)
            self._end(b"")
        elif server.git.wanted and authorization != server.git.wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self._end(b"")
        else:
            self._run(server.git.root, body)

    def _run(self, root: Path, body: bytes) -> None:
        parts = urlsplit(self.path)
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, stdout=subprocess.PIPE)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self._end(content)

    def _end(self, content: bytes) -> None:
        # A length, for GnuTLS takes no end of the connection for the end of an answer.
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""
