"""The page of a user study on this machine: a small HTTP server of the standard library, answers in SQLite.

    GET  /                      the page
    GET  /trials?rater=NAME     this rater's questions in her order, without names of systems; "done" ones are answered
    GET  /media/<name>          a video
    POST /answer                {"rater", "trial": place in that order, "answer"}; a later one replaces it

It listens on this machine only, serves nothing but what the study lists, and tells the page nothing that the rater may
not know.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from portrayal.errors import InputError
from portrayal.evaluate.userstudy import Study, Trial, load_study

_log = logging.getLogger(__name__)
LONGEST = 4096
"""Bytes of an answer."""
TYPES = {
    ".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif", ".png": "image/png", ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}  # fmt: skip
TABLE = """CREATE TABLE IF NOT EXISTS answers (
    rater TEXT NOT NULL, trial TEXT NOT NULL, answer TEXT NOT NULL, correct INTEGER, seconds REAL NOT NULL,
    PRIMARY KEY (rater, trial))"""


def serve(folder: Path, *, port: int) -> None:
    """Show a study until Ctrl-C.

    Raises:
        InputError: no study there, or the port is taken.
    """
    server = make_server(folder, port=port)
    print(f"Study: http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it; answers are in {folder / 'answers.sqlite'})")
    with server:
        server.serve_forever()


def make_server(folder: Path, *, port: int) -> ThreadingHTTPServer:
    """The server, not running yet; port 0 takes a free one."""
    study = load_study(folder)
    with closing(connect(folder)) as database, database:
        database.execute(TABLE)

    class Handler(_Handler):
        pass

    Handler.study, Handler.folder = study, folder
    Handler.media = {clip.file for clip in study.clips}
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error


def connect(folder: Path) -> sqlite3.Connection:
    """The study's answers."""
    return sqlite3.connect(folder / "answers.sqlite", timeout=10)


class _Handler(BaseHTTPRequestHandler):
    study: Study
    folder: Path
    media: set[str]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            page = (files("portrayal.evaluate") / "userstudy.html").read_bytes()
            self._send(200, page, "text/html; charset=utf-8")
        elif url.path == "/trials":
            rater = parse_qs(url.query).get("rater", [""])[0].strip()
            if not rater or len(rater) > 100:
                self._refuse(400, "say who you are")
            else:
                self._json(200, self._trials(rater))
        elif url.path.removeprefix("/media/") in self.media and url.path.startswith("/media/"):
            self._file(self.folder / "media" / url.path.removeprefix("/media/"))
        else:
            self._refuse(404, "there is nothing here")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if urlsplit(self.path).path != "/answer" or not 0 < length <= LONGEST:
            self._refuse(404, "there is nothing here")
            return
        try:
            body = json.loads(self.rfile.read(length))
            rater, answer = str(body["rater"]).strip(), str(body["answer"])
            trial = self.study.trials(rater)[place] if (place := int(body["trial"])) >= 0 else None
        except IndexError:
            trial = None
        except (ValueError, KeyError, TypeError):
            self._refuse(400, "an answer has rater, trial and answer")
            return
        if trial is None or not rater or not is_answer(self.study.kind, answer):
            self._refuse(400, "that is no answer to a question of this study")
            return
        chosen, correct = self._judge(trial, answer)
        with closing(connect(self.folder)) as database, database:
            row = (rater, trial.number, chosen, correct, time.time())
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row)
        self._json(200, {"saved": True})

    def _trials(self, rater: str) -> dict[str, Any]:
        with closing(connect(self.folder)) as database:
            done = {number for (number,) in database.execute("SELECT trial FROM answers WHERE rater = ?", (rater,))}
        trials = self.study.trials(rater)
        # Numbers name systems, so the page gets places in the rater's order instead.
        shown = [{"files": [c.file for c in t.clips], "check": t.check} for t in trials]
        return {"kind": self.study.kind, "trials": shown, "done": [i for i, t in enumerate(trials) if t.number in done]}

    def _judge(self, trial: Trial, answer: str) -> tuple[str, int | None]:
        """What is kept: of a pair the chosen system; and of an attention check whether it was followed."""
        if trial.check:
            expected = trial.check if self.study.kind == "pairwise" else f"{trial.check},{trial.check}"
            return answer, int(answer == expected)
        if self.study.kind == "pairwise":
            return trial.clips[0 if answer == "left" else 1].system, None
        return answer, None

    def _file(self, path: Path) -> None:
        try:
            self._send(200, path.read_bytes(), TYPES[path.suffix])
        except OSError:
            self._refuse(404, "this video is missing; make the study again")

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _refuse(self, status: int, reason: str) -> None:
        self._json(status, {"error": reason})

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def is_answer(kind: str, answer: str) -> bool:
    """left or right; or motion and identity as two numbers from 0 to 10 with a comma between."""
    if kind == "pairwise":
        return answer in ("left", "right")
    parts = answer.split(",")
    return len(parts) == 2 and all(p.isdecimal() and int(p) <= 10 for p in parts)
