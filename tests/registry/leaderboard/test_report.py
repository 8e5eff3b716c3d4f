from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from tests.registry.conftest import MakeRun, pasted
from tests.registry.leaderboard.conftest import SCORES, change

from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.charts import charts
from solo_registry.leaderboard.figures import CURVES
from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.tables import board_table
from solo_registry.runs.read import MARK, SEAL, sealed

pytestmark = pytest.mark.slow  # draws
QUIET = Console(quiet=True)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# scrolls the table, hides a strategy as a hand does, and writes what the page shows
HAND = """<script type="module">
const all = await views;
const marks = () => [...document.querySelectorAll(".chart")].map(
  (chart) => chart.querySelectorAll(".mark-symbol.role-mark path, .mark-rule.role-mark line").length);
const before = marks();
const texts = [];
for (const mark of document.querySelectorAll(".chart .mark-symbol.role-mark path")) {
  for (const kind of ["pointerover", "pointermove", "mousemove"])
    mark.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX: 9, clientY: 9 }));
  await new Promise((done) => setTimeout(done, 20));
  texts.push(document.getElementById("vg-tooltip-element")?.textContent);
}
const box = document.querySelector("#strategies [value=cosine]");
box.click();
await new Promise((done) => setTimeout(done, 500));
const cell = document.querySelector("tbody td");
const start = cell.getBoundingClientRect().left;
document.querySelector(".scroll").scrollLeft = 150;
const found = { before, after: marks(), start, stuck: cell.getBoundingClientRect().left,
  texts,
  wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
  heads: [...document.querySelectorAll("thead button")].map((e) => e.textContent) };
parent.postMessage(JSON.stringify(found), "*");
</script>"""  # noqa: E501
PHONE = """<!doctype html><body style="margin: 0"><pre id="done"></pre>
<script>addEventListener("message", (e) => { document.getElementById("done").textContent = e.data; });</script>
<iframe src="probed.html" width="390" height="800" style="border: 0"></iframe></body>"""  # noqa: E501
PROBE = """<script>
const errors = []; addEventListener("error", (e) => errors.push(e.message));
addEventListener("load", () => {
  const names = () => [...document.querySelectorAll("#results tbody tr")].map((r) => r.cells[0].textContent);
  const click = (head) => { [...document.querySelectorAll("#results th button")]
    .find((b) => b.textContent === head).click(); return names(); };
  const found = {before: names(), up: click("kNN, %"), down: click("kNN, %"), name: click("strategy"),
    pictures: [...document.images].map((i) => i.naturalWidth), errors,
    outside: performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).length};
  const out = document.createElement("pre"); out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script>"""  # noqa: E501


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(board: Path) -> pd.DataFrame:
    return pd.read_csv(board / "report" / "results.csv").set_index("strategy")


def first_run(board: Path, strategy: str, seed: int) -> Path:
    plan = json.loads((board / "board.json").read_text())
    job = next(j for j in plan["jobs"] if j["strategy"] == strategy and j["seed"] == seed)
    return board.parents[1] / "runs" / str(job["path"])


def test_the_report_is_a_pure_function_of_result_files(board: Path, tmp_path: Path) -> None:
    assert write_report(board, QUIET) == []
    assert write_report(board, QUIET, out=tmp_path / "again") == []
    once = files(board / "report")
    assert once == files(tmp_path / "again")
    assert set(once) == {
        "results.csv", "results.tex", "runs.csv", "report.md", "index.html", "accuracy.png",
        "differences.png", "uniformity_tolerance.png", "trajectories.png", "grid_cosine.png",
    }  # fmt: skip


def test_numbers_verdicts_and_provenance_stand_in_each_row(board: Path) -> None:
    write_report(board, QUIET)
    rows = table(board)
    assert list(rows.index) == ["cosine", "fixed", "twin"]  # best first
    assert rows.knn_acc1_mean["cosine"] == pytest.approx(sum(SCORES["cosine"]) / 3)
    assert dict(rows.verdict) == {"cosine": "win", "fixed": "reference", "twin": "equivalent"}
    assert (rows.p_holm.dropna() >= rows.p.dropna()).all()
    assert list(rows.seeds) == ["1 2 3"] * 3 and rows.config_hash.nunique() == 3
    assert rows.protocol.str.contains("protocol of knn_acc1 of the test split").all()
    assert rows.train_seconds["fixed"] == 4.0 and rows.peak_host_bytes["fixed"] == 2**30
    assert rows.command["cosine"].endswith("seed=1,2,3") and "--multirun" in rows.command["cosine"]
    assert "knn" in (board / "report" / "report.md").read_text()


def damage(run: Path, kind: str) -> None:
    result = run / "result.json"
    if kind == "cut":
        result.write_bytes(result.read_bytes()[: result.stat().st_size // 2])
    elif kind == "older":
        change(result, schema_version=1)
    elif kind == "foreign":
        change(result, seed=77)
    elif kind == "other config":
        text = (run / "resolved.yaml").read_text().removeprefix(MARK).partition(SEAL)[0]
        other = text.replace("max_epochs: 2", "max_epochs: 3")
        (run / "resolved.yaml").write_text(sealed(other))
    elif kind == "failed":
        result.unlink()
        (run / "error.json").write_text(json.dumps({"error": "ValueError: <script>boom"}))
    else:
        result.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "is not a run's result"),
        ("older", "has schema version 1, this version reads"),
        ("foreign", "belongs to another run: it says"),
        ("other config", "resolved.yaml belongs to another run"),
        ("failed", "ValueError: <script>boom"),
        ("unfinished", "not finished, 2 epochs done"),
    ],
)
def test_what_cannot_be_trusted_is_named_and_left_out(board: Path, kind: str, message: str) -> None:
    damage(first_run(board, "cosine", 2), kind)
    assert write_report(board, QUIET) == ["row 'cosine' lacks seed 2"]
    row = table(board).loc["cosine"]
    assert row.n == 2 and row.knn_acc1_mean == pytest.approx((92.0 + 94.1) / 2)
    assert message in row.problems
    assert (
        message.replace("<script>", "&lt;script&gt;")
        in (board / "report" / "report.md").read_text()
    )


def test_a_strategy_that_failed_altogether_stays_a_row(board: Path) -> None:
    for seed in (1, 2, 3):
        damage(first_run(board, "twin", seed), "failed")
    assert len(write_report(board, QUIET)) == 3
    row = table(board).loc["twin"]
    assert row.verdict == "no result" and row.n == 0 and "boom" in row.problems


def test_a_board_whose_tuning_is_not_done_says_how_far_it_is(board: Path) -> None:
    (board / "selected.json").unlink()
    plan = json.loads((board / "board.json").read_text())
    leading = [job["path"] for job in plan["jobs"] if job["phase"] == "tuning"][2]
    damage(board / plan["runs_dir"] / leading, "unfinished")
    plan["jobs"] = [job for job in plan["jobs"] if job["phase"] == "tuning"]
    (board / "board.json").write_text(json.dumps(plan))
    write_report(board, QUIET)
    row = table(board).loc["cosine"]
    best = "method_kwargs.tau_min=0.2 method_kwargs.tau_max=0.4 is best: knn_acc1 80.20 over 1 seed"
    assert f"3 of 4 tuning runs are finished, so far {best}" in row.problems
    assert row.verdict == "no result"
    report = (board / "report" / "report.md").read_text()
    assert "not finished" not in report  # a line for each of hundreds of runs helps nobody


def test_unequal_results_of_one_config_and_seed_both_go(board: Path, tmp_path: Path) -> None:
    run = first_run(board, "cosine", 2)
    copy = tmp_path / "runs" / "elsewhere" / run.parent.name / run.name
    shutil.copytree(run, copy)
    write_report(tmp_path / "runs", QUIET, out=tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "results.csv").set_index("config_hash")
    assert rows.n[run.parent.name] == 3  # equal copies are one run
    result = json.loads((copy / "result.json").read_text())
    result["results"]["trained"]["knn_acc1"] += 1
    (copy / "result.json").write_text(json.dumps(result))
    lacking = write_report(tmp_path / "runs", QUIET, out=tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "results.csv").set_index("config_hash")
    assert rows.n[run.parent.name] == 2 and "unequal results" in rows.problems[run.parent.name]
    assert any("lacks seed 2" in line for line in lacking)


def test_a_folder_of_runs_has_a_row_per_config_and_no_validation_runs(
    board: Path, tmp_path: Path
) -> None:
    reference = first_run(board, "fixed", 1).parent.name
    assert write_report(tmp_path / "runs", QUIET, against=reference) == []
    rows = pd.read_csv(tmp_path / "runs" / "report" / "results.csv")
    assert len(rows) == 3 and set(rows.verdict) == {"win", "reference", "equivalent"}
    assert (tmp_path / "runs" / "report" / "report.md").read_text().count("validation split") == 1


def test_check_fails_without_a_protocol(board: Path) -> None:
    change(first_run(board, "twin", 1) / "result.json", protocols={})
    assert write_report(board, QUIET) == ["row 'twin' lacks the protocol of knn_acc1 (seed 1)"]


@pytest.mark.parametrize(
    ("change_path", "kwargs", "message"),
    [
        ("nowhere", {}, "no folder"),
        ("", {"against": "fixd"}, "no row 'fixd' to compare with. Did you mean 'fixed'"),
        ("", {"metric": "knn_acc"}, "metric is 'knn_acc'. Did you mean 'knn_acc1'"),
    ],
)
def test_bad_requests_are_told(
    board: Path, change_path: str, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_report(board / change_path, QUIET, **kwargs)
    assert not (board / "report").exists()


def test_a_damaged_board_or_an_empty_folder_is_named(board: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run folder"):
        write_report(tmp_path / "empty", QUIET)
    change(board / "board.json", schema_version=99)
    with pytest.raises(UserError, match="schema version 99"):
        write_report(board, QUIET)
    (board / "board.json").write_text("{")
    with pytest.raises(UserError, match="is not a board's plan: invalid JSON"):
        write_report(board, QUIET)


def test_rows_with_equal_taus_do_not_hide_in_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("simclr", 1, 90.0)
    make_run("simclr", 1, 95.0, "method_kwargs.temperature=0.7")
    write_report(tmp_path / "runs", QUIET)
    assert len(pd.read_csv(tmp_path / "runs" / "report" / "results.csv")) == 2


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, name) for name, _ in attrs} | {(tag, "")}


def test_names_in_result_files_are_text_in_every_page(board: Path) -> None:
    """Whatever somebody writes into his files: it is no HTML, link, table cell or other file."""
    run = first_run(board, "fixed", 1)
    change(run / "result.json", protocols={"knn_acc1": "other"})
    write_report(board, QUIET)
    before = Tags((board / "report" / "index.html").read_text()).found
    evil = "../<script>alert(1)</script><img src=x onerror=alert(1)>|`$_{$`\n\n[x](javascript:y)\"'"
    for name in ("board.json", "selected.json"):
        text = (board / name).read_text()
        for word in ("cosine", "a test", '"three"', "method_kwargs"):
            bare = word.strip('"')
            text = text.replace(word, word.replace(bare, json.dumps(bare + evil)[1:-1]))
        (board / name).write_text(text)
    change(run / "result.json", protocols={"knn_acc1": evil})
    write_report(board, QUIET)
    assert Tags((board / "report" / "index.html").read_text()).found == before
    report = (board / "report" / "report.md").read_text()
    prose, _, commands = report.partition("## Commands")
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1 and len(rows) == 7
    assert "&lt;script&gt;" in prose and not re.search(
        r"<(?![\w.%]+png>)|(?<!\\)\[x|(?<!\\)`", prose
    )
    opening, *_, closing = commands.strip().splitlines()
    assert opening == f"{closing}bash" and set(closing) == {"`"} and commands.count(closing) == 2
    assert not [path for path in board.parent.rglob("*") if path.parent not in
                (board.parent, board, board / "report")]  # fmt: skip


def test_the_commands_can_be_pasted(board: Path, tmp_path: Path) -> None:
    """A shell passes each word on as it is, and runs nothing inside of it."""
    words = [
        "a=$(touch hacked)",
        "b=`touch hacked`",
        'c=it\'s "so"',
        "d=x y; touch hacked",
        "e=$HOME",
    ]
    plan = json.loads((board / "board.json").read_text())
    jobs = [{**job, "words": [*words, "seed=1"]} for job in plan["jobs"]]
    change(board / "board.json", jobs=jobs)
    write_report(board, QUIET)
    command = table(board).command["cosine"]
    assert f"\n{command}\n" in (board / "report" / "report.md").read_text()
    assert pasted(command, tmp_path) == ["pretrain", "--multirun", *words, "seed=1,2,3"]


def test_seeds_that_were_measured_in_another_way_are_left_out_and_named(board: Path) -> None:
    odd = {"knn_acc1": "weighted kNN, k=1"}
    change(first_run(board, "cosine", 2) / "result.json", protocols=odd)
    assert write_report(board, QUIET) == ["row 'cosine' lacks seed 2"]
    row = table(board).loc["cosine"]
    assert row.n == 2 and row.knn_acc1_mean == pytest.approx((92.0 + 94.1) / 2)
    assert "knn_acc1: 'weighted kNN, k=1' and not 'protocol of knn_acc1'" in row.problems
    change(first_run(board, "twin", 1) / "result.json", train_images=100)
    change(first_run(board, "twin", 2) / "result.json", train_images=200)
    change(first_run(board, "twin", 3) / "result.json", train_images=300)
    assert sum("'twin' lacks seed" in line for line in write_report(board, QUIET)) == 3


def test_a_row_that_was_measured_in_another_way_is_not_tested(board: Path) -> None:
    for seed in (1, 2, 3):
        path = first_run(board, "twin", seed) / "result.json"
        change(path, protocols={"knn_acc1": "weighted kNN, k=1"})
    assert write_report(board, QUIET) == ["row 'twin' lacks the reference's protocol"]
    rows = table(board)
    assert rows.verdict["twin"] == "no test" and rows.verdict["cosine"] == "win"
    assert "measured by 'weighted kNN, k=1 of the test split' and not by" in rows.problems["twin"]


def test_the_verdict_says_what_all_of_the_interval_says(board: Path) -> None:
    write_report(board, QUIET)
    rows = table(board)
    cosine, twin = rows.loc["cosine"], rows.loc["twin"]
    assert 0 < cosine.difference_low < cosine.difference < cosine.difference_high
    assert -0.5 < twin.difference_low < 0 < twin.difference_high < 0.5
    report = (board / "report" / "report.md").read_text()
    assert "Smallest detectable difference: " in report and "2 contrasts" in report
    assert "Differences are between the settings in the table." in report


def test_rows_outside_the_declared_question_get_no_verdict(board: Path) -> None:
    suite = json.loads((board / "board.json").read_text())["suite"]
    change(board / "board.json", suite=suite | {"question": {"contrasts": ["twin"]}})
    write_report(board, QUIET)
    rows = table(board)
    assert dict(rows.verdict) == {
        "cosine": "exploratory",
        "fixed": "reference",
        "twin": "equivalent",
    }
    assert rows.p_holm["twin"] == rows.p["twin"] and pd.isna(rows.p_holm["cosine"])
    for other in ({"metric": "linear_acc1"}, {"against": "twin"}):
        write_report(board, QUIET, **other)  # type: ignore[arg-type]
        assert set(table(board).verdict) == {"exploratory", "reference"}
        assert "The suite asked about knn_acc1" in (board / "report" / "report.md").read_text()


def test_one_run_under_several_names_is_one_row_and_counts_once(
    board: Path, make_run: MakeRun
) -> None:
    """A name more, or ten, changes no verdict on the others."""
    write_report(board, QUIET)
    before = table(board)
    plan = json.loads((board / "board.json").read_text())
    for copy, of in (("line", "cosine"), ("same", "fixed")):
        plan["suite"]["strategies"][copy] = plan["suite"]["strategies"][of]
        plan["jobs"] += [job | {"strategy": copy} for job in plan["jobs"]
                         if job["strategy"] == of and job["phase"] == "final"]  # fmt: skip
    change(board / "board.json", **plan)
    chosen = json.loads((board / "selected.json").read_text())
    change(board / "selected.json", line=chosen["cosine"], same=chosen["fixed"])
    write_report(board, QUIET)
    after = table(board)
    assert after.same["cosine"] == "line" and after.same["fixed"] == "same"
    columns = ["verdict", "p_holm", "difference_low", "difference_high"]
    pd.testing.assert_frame_equal(before[columns], after[columns])
    report = (board / "report" / "report.md").read_text()
    assert "One run under several names, counted once: cosine = line." in report


def test_several_tunings_are_the_pairs_of_the_test(board: Path, make_run: MakeRun) -> None:
    """Two tunings: seeds 1 and 3 share a point, seed 2 has another; two pairs, not three."""
    write_report(board, QUIET)
    suite = json.loads((board / "board.json").read_text())["suite"]
    suite["tuning"] |= {"seeds": [1001, 1002], "replicates": 2}
    change(board / "board.json", suite=suite)
    write_report(board, QUIET)
    rows = table(board)
    gaps = [c - f for c, f in zip(SCORES["cosine"], SCORES["fixed"], strict=True)]
    pairs = [(gaps[0] + gaps[2]) / 2, gaps[1]]
    assert rows.pairs["cosine"] == 2 and rows.n["cosine"] == 3
    assert rows.p["cosine"] == pytest.approx(stats.ttest_1samp(pairs, 0).pvalue)
    assert "Differences are between strategies" in (board / "report" / "report.md").read_text()


def test_losses_of_different_temperatures_are_on_no_axis(board: Path) -> None:
    """The runs of the board have train_loss, and train at three temperatures."""
    table = board_table(Board.read(board))
    text = json.dumps(charts(table)) + " ".join(CURVES)
    assert "val_acc1" in text and "loss" not in text


def test_without_the_library_the_page_has_pictures(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solo_registry.leaderboard.charts.find_spec", lambda name: None)
    write_report(board, QUIET)
    page = (board / "report" / "index.html").read_text()
    assert "vegaEmbed" not in page and page.count("data:image/png") == 5
    assert len(page) < 1_000_000


def squeezed(text: str) -> str:
    """Return a text without spaces and colons."""
    return re.sub(r"[\s:]", "", text)


def in_browser(page: Path, *options: str) -> str:
    """Open a page in Chromium and return its content."""
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=6000",
         f"--user-data-dir={page.parent}/profile", *options, page.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome to open the page in")
def test_the_figures_of_the_page_react_on_a_phone(board: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    write_report(board, QUIET)
    page = (board / "report" / "index.html").read_text()
    assert not re.search(r"(src|href)=.http", page)
    start, end, rest = page.rpartition("</body>")  # the library has one in a text as well
    (tmp_path / "probed.html").write_text(start + HAND + end + rest)
    phone, shot = tmp_path / "phone.html", tmp_path / "page.png"
    phone.write_text(PHONE)  # Chromium has no window of 390 pixels
    text = in_browser(phone, "--dump-dom")
    in_browser(phone, f"--screenshot={shot}", "--window-size=500,900")
    match = re.search(r'<pre id="done">(.*?)</pre>', text)
    assert match, text[-2000:]
    found = json.loads(match[1])
    assert found["before"] == [9 + 3 + 3, 1 + 2 * 2, 6] and found["after"] == [6 + 2 + 2, 3, 4]
    assert any("seed3" in text and "94.1" in text for text in map(squeezed, found["texts"]))
    assert found["wide"] <= found["room"] and found["stuck"] == found["start"]
    assert found["heads"][:3] == ["strategy", "verdict", "kNN, %"]
    image = matplotlib.image.imread(shot)
    assert image.shape[:2] == (900, 500) and image.std() > 0.05


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome to open the page in")
def test_the_page_works_in_a_browser(board: Path, tmp_path: Path) -> None:
    write_report(board, QUIET)
    page = (board / "report" / "index.html").read_text()
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("<head>", "<head>" + PROBE, 1))
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000",
         f"--user-data-dir={tmp_path}/profile", "--dump-dom", probed.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert match, done.stderr[-2000:]
    found = json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["before"] == ["cosine", "fixed", "twin"]
    assert found["up"] == ["twin", "fixed", "cosine"] and found["down"] == found["up"][::-1]
    assert found["name"] == ["cosine", "fixed", "twin"]
    assert len(found["pictures"]) == 5 and min(found["pictures"]) > 100
    assert found["errors"] == [] and found["outside"] == 0
