"""The user study: hidden names, order of each rater, attention checks, answers, count; over HTTP and in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.evaluate.userstudy import CHECKS, Study, make_study
from portrayal.evaluate.userstudy_server import connect, make_server
from portrayal.evaluate.userstudy_tally import tally

SYSTEMS = ("copy-source", "meshwarp", "other")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """<system>/<item>.png."""
    folder = tmp_path / "results"
    for shade, system in enumerate(SYSTEMS):
        (folder / system).mkdir(parents=True)
        for item in ("ann--bob", "bob--ann"):
            Image.fromarray(np.full((32, 32, 3), 60 * shade, np.uint8)).save(folder / system / f"{item}.png")
    return folder


@contextmanager
def running(folder: Path) -> Iterator[str]:
    server = make_server(folder, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(address: str) -> Any:
    with urlopen(address, timeout=20) as reply:
        return json.loads(reply.read())


def post(address: str, body: Any) -> Any:
    with urlopen(Request(address, json.dumps(body).encode(), method="POST"), timeout=20) as reply:
        return json.loads(reply.read())


def answer_all(address: str, study: Study, rater: str, *, prefer: str, careless: bool = False) -> None:
    """A rater who prefers one system, and does or does not follow the checks."""
    for place, trial in enumerate(study.trials(rater)):
        if trial.check:
            other = "left" if trial.check == "right" else "right"
            chosen = other if careless else trial.check
        else:
            chosen = "right" if trial.clips[1].system == prefer else "left"
        post(f"{address}/answer", {"rater": rater, "trial": place, "answer": chosen})


def test_every_pair_once_in_an_order_of_each_rater(results: Path, tmp_path: Path) -> None:
    study = make_study(results, tmp_path / "study")
    trials = study.trials("ann")
    assert len(trials) == 2 * 3 + CHECKS
    assert trials == study.trials("ann")
    assert [t.number for t in trials] != [t.number for t in study.trials("bob")]
    assert {t.number for t in trials} == {t.number for t in study.trials("bob")}


def test_the_page_cannot_tell_who_is_who(results: Path, tmp_path: Path) -> None:
    make_study(results, tmp_path / "study")
    with running(tmp_path / "study") as address:
        shown = json.dumps(get(f"{address}/trials?rater=ann"))
        page = urlopen(address, timeout=20).read().decode()
    assert not any(name in shown + page for name in (*SYSTEMS, "ann--bob"))


def test_answers_are_kept_replaced_and_counted(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study = make_study(results, folder)
    with running(folder) as address:
        for rater in ("ann", "bob", "eve"):
            answer_all(address, study, rater, prefer="meshwarp", careless=rater == "eve")
        answer_all(address, study, "bob", prefer="meshwarp")
        assert get(f"{address}/trials?rater=bob")["done"] == list(range(8))
    with closing(connect(folder)) as database:
        assert database.execute("SELECT COUNT(*) FROM answers").fetchone() == (3 * 8,)
    text = tally(folder)
    assert "| meshwarp | 100.0 [100.0, 100.0] |" in text
    assert "2 raters, 12 answers. 1 more failed an attention check" in text
    assert "*FOMM* (published: directions, Table 1" in text


def test_ratings(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    study = make_study(results, folder, kind="ratings")
    scores = {"copy-source": "1,9", "meshwarp": "7,6", "other": "8,3"}
    with running(folder) as address:
        for rater in ("ann", "bob"):
            for place, trial in enumerate(study.trials(rater)):
                chosen = f"{trial.check},{trial.check}" if trial.check else scores[trial.clips[0].system]
                post(f"{address}/answer", {"rater": rater, "trial": place, "answer": chosen})
    assert main(["evaluate", "study", "--tally", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "| meshwarp | 7.0 [7.0, 7.0] | 6.0 [6.0, 6.0] |" in shown
    assert "alpha 1.00" in shown


@pytest.mark.parametrize(
    "body",
    [
        {"rater": "ann", "trial": 99, "answer": "left"},
        {"rater": "ann", "trial": -1, "answer": "left"},
        {"rater": "ann", "trial": 0, "answer": "meshwarp"},
        {"rater": " ", "trial": 0, "answer": "left"},
        {"rater": "ann", "trial": "x", "answer": "left"},
        {"rater": "ann"},
        [],
    ],
)
def test_what_is_no_answer_is_refused(results: Path, tmp_path: Path, body: Any) -> None:
    make_study(results, tmp_path / "study")
    with running(tmp_path / "study") as address:
        with pytest.raises(HTTPError) as refused:
            post(f"{address}/answer", body)
        refused.value.close()
    assert refused.value.code == 400


@pytest.mark.parametrize("path", ["/study.json", "/answers.sqlite", "/media/../study.json", "/media/%2e%2e/study.json"])
def test_nothing_but_the_study_is_served(results: Path, tmp_path: Path, path: str) -> None:
    make_study(results, tmp_path / "study")
    with running(tmp_path / "study") as address:
        with pytest.raises(HTTPError) as refused:
            urlopen(address + path, timeout=20)
        refused.value.close()
    assert refused.value.code == 404


def test_what_cannot_be_made_is_said(results: Path, tmp_path: Path) -> None:
    make_study(results, tmp_path / "study")
    with pytest.raises(InputError, match="holds a study already"):
        make_study(results, tmp_path / "study")
    for system in SYSTEMS[1:]:
        shutil.rmtree(results / system)
    with pytest.raises(InputError, match="two systems"):
        make_study(results, tmp_path / "another")
    with pytest.raises(InputError, match="no answers that count"):
        tally(tmp_path / "study")


DRIVER = """<!doctype html><iframe id="page" src="/" width="900" height="700"></iframe><script>
const page = document.getElementById("page"), wait = ms => new Promise(done => setTimeout(done, ms));
page.addEventListener("load", async () => {
  const inside = page.contentDocument, shown = id => !inside.getElementById(id).hidden;
  inside.getElementById("rater").value = "browser";
  inside.getElementById("start").requestSubmit();
  for (let step = 0; step < 300 && !shown("end"); step++) {
    await wait(20);
    if (!shown("question") || shown("end")) continue;
    const asked = shown("check") && inside.getElementById("check").textContent.includes("right") ? "right" : "left";
    const before = inside.getElementById("progress").value;
    inside.querySelector(`button[data-side=${asked}]`).click();
    for (let i = 0; i < 100 && !shown("end") && inside.getElementById("progress").value === before; i++) await wait(10);
  }
  document.title = shown("end") ? "finished" : "stuck: " + inside.getElementById("error").textContent;
});</script>"""


@pytest.mark.slow
def test_in_a_real_browser(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((path for path in map(shutil.which, names) if path), None)
    if browser is None:
        pytest.skip("no chromium here")
    folder = tmp_path / "study"
    study = make_study(results, folder)
    driver = tmp_path / "driver"
    with running(folder) as address:
        handler = _with_page(monkeypatch, DRIVER)
        assert handler
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={driver}",
                   "--virtual-time-budget=60000", "--timeout=90000", "--dump-dom", f"{address}/driver"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert "<title>finished</title>" in done.stdout, done.stdout[:2000] + done.stderr[-2000:]
    with closing(connect(folder)) as database:
        rows = database.execute("SELECT correct FROM answers WHERE rater = 'browser'").fetchall()
    assert len(rows) == len(study.trials("browser"))
    assert [correct for (correct,) in rows if correct is not None] == [1] * CHECKS


def _with_page(monkeypatch: pytest.MonkeyPatch, page: str) -> bool:
    """Serve one more page, which uses the study's as a rater would."""
    from portrayal.evaluate import userstudy_server

    handler = userstudy_server._Handler
    usual = handler.do_GET

    def with_driver(self: Any) -> None:
        if self.path == "/driver":
            self._send(200, page.encode(), "text/html; charset=utf-8")
        else:
            usual(self)

    monkeypatch.setattr(handler, "do_GET", with_driver)
    return True
