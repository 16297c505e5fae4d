"""Downloads from a server that the test starts on this machine and that breaks off, lies or cannot continue."""

import hashlib
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from portrayal.cli import main
from portrayal.errors import InputError, MissingFileError, PortrayalError
from portrayal.weights import registry
from portrayal.weights.convert import CONVERTERS
from portrayal.weights.registry import RemoteWeights, find_weights, get_weights, list_weights, mirrored, weights_folder
from portrayal.weights.remote import BY_HAND

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Server:
    """What the next answers are, and what was asked."""

    address: str = ""
    content: bytes = CONTENT
    break_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    content_type: str = "application/octet-stream"
    continues: bool = True
    """Whether Range is understood."""
    status: int | None = None
    """An error to answer with."""
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch):
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status:
                self.send_error(state.status)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.continues else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            body = state.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", state.content_type)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.end_headers()
            self.wfile.write(body[: state.break_after])
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        state.address = f"http://127.0.0.1:{http.server_port}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch, server) -> Path:
    """An empty weights folder, and one entry "thing" in the registry that the server has."""
    entry = RemoteWeights(
        url=f"{server.address}/models/thing.task",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        licence="CC0-1.0",
        what="a test",
    )
    monkeypatch.setattr(registry, "REMOTE", {"thing": entry})
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_download_once(folder, server):
    seen = []
    path = get_weights("thing", progress=lambda *step: seen.append(step))
    assert path == folder / "thing.task" == find_weights("thing")
    assert path.read_bytes() == CONTENT
    assert seen[0] == ("thing.task", 0, len(CONTENT))
    assert seen[-1] == ("thing.task", len(CONTENT), len(CONTENT))
    assert get_weights("thing") == path
    assert get_weights("thing", offline=True) == path
    assert server.ranges == [None]
    assert list(folder.iterdir()) == [path]


def test_permissions_of_any_new_file(folder, server):
    other = folder.parent / "other"
    other.touch()
    assert get_weights("thing").stat().st_mode == other.stat().st_mode


def test_continue_where_it_broke_off(folder, server):
    server.break_after = 300_000
    with pytest.raises(PortrayalError, match="broke off after 300000 of 700000 bytes; run this again"):
        get_weights("thing")
    assert not (folder / "thing.task").exists()
    server.break_after = None
    assert get_weights("thing").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_start_anew_where_the_server_cannot_continue(folder, server):
    server.break_after, server.continues = 300_000, False
    with pytest.raises(PortrayalError, match="broke off"):
        get_weights("thing")
    server.break_after = None
    assert get_weights("thing").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [len(CONTENT), len(CONTENT) + 5])
def test_remains_as_long_as_the_file_or_longer(folder, server, left):
    folder.mkdir()
    (folder / "thing.task.part").write_bytes((CONTENT + b"12345")[:left])
    assert get_weights("thing").read_bytes() == CONTENT
    assert server.ranges == ([] if left == len(CONTENT) else [None])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(CONTENT[:-1] + b"?", "SHA-256 differs"), (CONTENT + b"more", "longer than the expected 700000 bytes")],
)
def test_not_the_expected_file(folder, server, content, sentence):
    server.content = content
    with pytest.raises(PortrayalError, match=sentence):
        get_weights("thing")
    assert list(folder.iterdir()) == []


def test_a_page_instead_of_the_file_is_not_its_beginning(folder, server):
    server.content, server.content_type = b"<html>too many downloads today</html>", "text/html; charset=utf-8"
    with pytest.raises(PortrayalError, match="a page came instead of the file; open it in a browser, or put it at"):
        get_weights("thing")
    assert list(folder.iterdir()) == []


def test_a_page_does_not_end_a_broken_download(folder, server):
    server.break_after = 300_000
    with pytest.raises(PortrayalError, match="broke off"):
        get_weights("thing")
    server.break_after, server.continues, server.content_type = None, False, "text/html"
    with pytest.raises(PortrayalError, match="a page came"):
        get_weights("thing")
    server.continues, server.content_type = True, "application/octet-stream"
    assert get_weights("thing").read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=300000-"


def test_a_damaged_file_is_fetched_again(folder, server):
    path = get_weights("thing")
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(InputError, match=r"damaged .* run: portrayal weights get thing"):
        find_weights("thing")
    with pytest.raises(InputError, match="is damaged; run this without --offline"):
        get_weights("thing", offline=True)
    assert get_weights("thing").read_bytes() == CONTENT


def test_offline_asks_nobody(folder, server):
    with pytest.raises(InputError, match=r"thing\.task is missing; run this without --offline, or put http"):
        get_weights("thing", offline=True)
    with pytest.raises(MissingFileError, match="portrayal weights get thing"):
        find_weights("thing")
    assert server.ranges == []
    assert not folder.exists()


@pytest.mark.parametrize("status", [404, 503])
def test_the_server_refuses(folder, server, status):
    server.status = status
    with pytest.raises(PortrayalError, match=f"the server answered {status}"):
        get_weights("thing")
    assert list(folder.iterdir()) == []


def test_no_connection(folder, server, monkeypatch):
    gone = RemoteWeights("http://127.0.0.1:9/thing.task", "0" * 64, 10, "CC0-1.0", "a test")
    monkeypatch.setattr(registry, "REMOTE", {"thing": gone})
    with pytest.raises(
        PortrayalError, match=r"not reached \(Connection refused\); check the network, or put the file at"
    ):
        get_weights("thing")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_folder_that_may_not_be_written(folder, server):
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        get_weights("thing")


def test_folder_below_a_file(folder, server):
    folder.write_text("not a folder")
    with pytest.raises(InputError, match="cannot be created"):
        get_weights("thing")


def test_unknown_name_lists_the_known(folder):
    with pytest.raises(InputError, match="no weights named 'think'; there are: thing"):
        get_weights("think")


def test_mirror(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hf/")
    assert mirrored("https://huggingface.co/a/b.bin") == "https://mirror.example/hf/a/b.bin"
    assert mirrored("https://other.example/a") == "https://other.example/a"
    monkeypatch.delenv("HF_ENDPOINT")
    assert mirrored("https://huggingface.co/a/b.bin") == "https://huggingface.co/a/b.bin"


def test_huggingface_through_the_mirror(folder, server, monkeypatch):
    entry = registry.REMOTE["thing"]
    moved = RemoteWeights(
        "https://huggingface.co/models/thing.task", entry.sha256, entry.size_bytes, entry.licence, entry.what
    )
    monkeypatch.setattr(registry, "REMOTE", {"thing": moved})
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    assert get_weights("thing").read_bytes() == CONTENT


def test_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("PORTRAYAL_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert weights_folder() == tmp_path / ".cache" / "portrayal"


def test_every_entry_is_complete():
    for name, entry in registry.REMOTE.items():
        assert entry.url.startswith("https://")
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert entry.size_bytes > 0
        assert entry.licence
        assert any(line.startswith(f"{name}: {entry.what}") for line in list_weights())


def test_every_checkpoint_by_hand_is_complete():
    for name, there in BY_HAND.items():
        assert name not in registry.REMOTE
        assert there.page.startswith("https://")
        assert there.licence
        assert there.what
        assert there.convert.split()[:3] == ["portrayal", "weights", "convert"]
        assert there.convert.split()[3] in CONVERTERS
        assert any(line.startswith(f"{name}: {there.what}; by hand from {there.page}") for line in list_weights())


@pytest.mark.parametrize("name", BY_HAND)
def test_get_says_what_to_do_by_hand(folder, server, capsys, name):
    assert main(["weights", "get", name]) == 2
    sentence = capsys.readouterr().err
    for part in (BY_HAND[name].page, f"(licence: {BY_HAND[name].licence})", f"then run: {BY_HAND[name].convert}"):
        assert part in " ".join(sentence.split())
    assert server.ranges == []


def test_commands(folder, server, capsys):
    assert main(["weights", "list"]) == 0
    assert "thing: a test; 0.7 MB, CC0-1.0, not downloaded" in capsys.readouterr().out
    assert main(["weights", "get", "thing", "--offline"]) == 2
    assert main(["weights", "get", "thing"]) == 0
    assert str(folder / "thing.task") in capsys.readouterr().out
    assert main(["weights", "get"]) == 2
    assert "needs a name" in capsys.readouterr().err
    server.status = 500
    (folder / "thing.task").unlink()
    assert main(["weights", "get", "thing"]) == 1
