"""The page of a report: names are text, figures react, a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pytest
from tests.registry.leaderboard.conftest import QUIET, change, first_run

from solo_registry.leaderboard.report import write_report

pytestmark = pytest.mark.slow  # draws


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
