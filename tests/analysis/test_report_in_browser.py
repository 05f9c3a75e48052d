"""The report in a real browser: layout at three widths, light and dark, nothing fetched."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from dynaloss.analysis import Result, compare
from dynaloss.analysis.report import write_report
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("report_in_browser"),
]
# Measured in the page itself, since the window is what the reader has.
PROBE = """
<script>
addEventListener("load", () => {
  const heads = document.querySelectorAll("table.main thead button");
  heads[1].click();
  const rows = [...document.querySelectorAll("table.main tbody tr")];
  const values = rows.map((row) => parseFloat(row.cells[1].dataset.value));
  const broken = [...document.images].filter((image) => !image.naturalWidth).length;
  document.body.dataset.found = JSON.stringify({
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - innerWidth,
    sorted: values.every((value, i) => !i || value <= values[i - 1]),
    images: document.images.length, broken,
    requests: performance.getEntriesByType("resource")
      .filter((entry) => !entry.name.startsWith("data:")).length,
    background: getComputedStyle(document.body).backgroundColor,
  });
});
</script></body>
"""


# A window is at least 500 pixels wide, so a phone is a frame within one.
PHONE = """<!doctype html>
<iframe src="probed.html" style="border:0;width:375px;height:900px" onload="
  const found = () => this.contentDocument.body.dataset.found;
  const copy = () => found() ? document.body.dataset.found = found() : setTimeout(copy, 20);
  copy();
"></iframe>
"""


@pytest.fixture(scope="module")
def page(records: Sequence[TrialRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "report.html"
    plans = {"quickstart": StoredPlan(hash="abc", deviations=("seeds added: 3.",))}
    comparison = compare(records, "test/accuracy", "none")
    write_report(Result(records=records, comparisons=[comparison], plans=plans), path)
    return path


def browse(page: Path, width: int, *options: str) -> tuple[str, str]:
    profile = page.parent / f"profile-{width}"
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        f"--window-size={width},900",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 900, 1400])
def test_page_fits_sorts_and_fetches_nothing(page: Path, width: int, dark: bool) -> None:
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text("utf-8").replace("</body>", PROBE), "utf-8")
    options = ["--dump-dom", "--virtual-time-budget=3000", "--allow-file-access-from-files"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    shown = probed
    if width < 500:
        shown = page.with_name("phone.html")
        shown.write_text(PHONE, "utf-8")
    content, log = browse(shown, width, *options)
    assert "CONSOLE" not in log
    (found,) = re.findall(r'data-found="([^"]*)"', content)
    assert f"width&quot;:{width}," in found
    for part in ("sorted&quot;:true", "broken&quot;:0", "requests&quot;:0"):
        assert part in found
    (overflow,) = re.findall(r"overflow&quot;:(-?\d+)", found)
    assert int(overflow) <= 0
    assert ("rgb(20, 23, 27)" in found) == dark


def test_screenshot_has_the_size_of_the_window(page: Path) -> None:
    image = page.with_name("page.png")
    browse(page, 900, f"--screenshot={image}")
    width, height = struct.unpack(">II", image.read_bytes()[16:24])
    assert (width, height) == (900, 900)
    assert len(image.read_bytes()) > 20_000
