"""Opens MLflow's interface on the quickstart's runs and makes the pictures for docs/comparing.md.

python examples/mlflow_screenshots.py [STORAGE] [FOLDER]

Needs Chromium and a finished study `quickstart`. The browser is controlled over a pipe, so only
the interface listens, on this machine alone.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from dynaloss.tracking import Workspace

WIDTH, HEIGHT = 1280, 800
PATIENCE_SECONDS = 300.0
SETTLE_SECONDS = 10.0


class Page:
    """A page of a headless Chromium, controlled by its DevTools protocol."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None  # before there is a page: the browser itself
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", size)

    def close(self) -> None:
        """Ends the browser."""
        self._session = None
        self._send("Browser.close", {})
        self._commands.close()
        self._answers.close()

    def open(self, address: str) -> None:
        """Opens an address."""
        self._send("Page.navigate", {"url": "about:blank"})
        self._send("Page.navigate", {"url": address})

    def run(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Value of a JavaScript expression."""
        answer = self._send("Runtime.evaluate", {"expression": script, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Waits until a JavaScript expression is true; an error in it counts as false."""
        attempt = f"(() => {{ try {{ return Boolean({script}) }} catch {{ return false }} }})()"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.run(attempt):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not true: {script}")
            time.sleep(0.2)

    def text(self) -> str:
        """Text of the page."""
        return str(self.run("document.body.innerText"))

    def wait_for_text(self, text: str) -> None:
        """Waits for a text on the page."""
        self.wait_for(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "", *, exact: bool = False) -> None:
        """Clicks the innermost element of a selector that shows the text."""
        shows = f"innerText.trim() == {json.dumps(text)}"
        if not exact:
            shows = f"innerText.includes({json.dumps(text)})"
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".findLast((it) => it.checkVisibility() && it.{shows})"
        )
        self.wait_for(found)
        box = self.run(
            f"(() => {{ const it = {found}; it.scrollIntoView({{block: 'nearest'}});"
            " const box = it.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            press = {"type": kind, "x": box[0], "y": box[1], "button": "left", "clickCount": 1}
            self._send("Input.dispatchMouseEvent", press)

    def type(self, text: str) -> None:
        """Replaces the text of the focused field."""
        self.run("document.activeElement.select?.()")
        self._send("Input.insertText", {"text": text})

    def picture(self, path: Path) -> None:
        """Writes the window as PNG."""
        content = base64.b64decode(self._send("Page.captureScreenshot", {"format": "png"})["data"])
        path.write_bytes(content)

    def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
        raise RuntimeError("the browser has ended")

    def _messages(self) -> Iterator[dict[str, Any]]:
        content = bytearray()
        while byte := self._answers.read(1):
            if byte == b"\0":
                yield json.loads(content)
                content.clear()
            else:
                content += byte


@contextmanager
def browser() -> Iterator[Page]:
    """A headless Chromium with an empty profile."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("chromium is not installed")
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        # Chromium takes commands from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--remote-debugging-pipe"]
        process = subprocess.Popen(
            ["bash", "-c", script, "-", program, *flags, f"--user-data-dir={profile}"],
            pass_fds=(command_read, answer_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        page = Page(command_write, answer_read)
        try:
            yield page
        finally:
            page.close()
            process.wait(30)


@contextmanager
def interface(storage: Path) -> Iterator[str]:
    """The address of MLflow's interface on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dynaloss", "ui"]
    command += ["--port", str(port), "--storage", str(storage)]
    process = subprocess.Popen(command)
    try:
        _await_answer(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _await_answer(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urlopen(address):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Pictures:
    """The pictures of one study, each after a few steps that readers can repeat.

    Args:
        page: The browser's page.
        address: Of the interface.
        experiment: Identifier of the study's experiment.
        runs: Identifier of each trial's run, by name.
    """

    def __init__(self, page: Page, address: str, experiment: str, runs: dict[str, str]) -> None:
        self._page = page
        self._address = address
        self._experiment = f"{address}/#/experiments/{experiment}"
        self._number = experiment
        self._runs = runs

    def prepare(self) -> None:
        """Closes the parts that are not about runs: the assistant, tools for language models."""
        self._page.open(f"{self._experiment}/runs")
        self._page.click('[data-component-id="mlflow.assistant.chat_panel.close"]')
        self._page.click("div", "Model training")
        self._page.wait_for_text("matching runs")

    def overview(self) -> None:
        """The study with its table, and its trials with their data."""
        self._page.open(f"{self._experiment}/runs")
        self._page.click('[data-component-id*="runnamecellrenderer"]')
        self._page.wait_for_text("seed 0")
        self._page.click('[data-component-id="mlflow.experiment.metadata_editor.expand_button"]')
        self._page.wait_for_text("Second line:")

    def arms(self) -> None:
        """The arms under one condition, each the mean of its seeds."""
        self._charts(HARD, "test/accuracy")

    def corrector(self) -> None:
        """The corrector of two runs over the epochs."""
        two = "tags.`dynaloss.arm` != 'none' and tags.`dynaloss.arm` != 'margin-only'"
        self._charts(f"{HARD} and tags.`dynaloss.seed` = '0' and {two}", "corrector/weight")

    def figure(self) -> None:
        """The corrector of one run by loss rank, from its artifacts."""
        run = self._runs["full · symmetric 0.4 · IR 10 · seed 0"]
        self._page.open(f"{self._experiment}/runs/{run}/artifacts/corrector.png")
        self._page.wait_for("[...document.images].some((it) => it.naturalWidth > 500)")
        divs = "[...document.querySelectorAll('div')]"
        path = f"{divs}.findLast((it) => /^Path:/.test(it.innerText))"
        self._page.run(f"{path}.style.visibility = 'hidden'")  # a folder of this machine

    def settings(self) -> None:
        """The trials of the design, which have the same settings: these against the result."""
        design = [run for name, run in self._runs.items() if name.split(" · ")[0] in DESIGN]
        chosen = json.dumps(design), json.dumps([self._number])
        query = urlencode(dict(zip(("runs", "experiments"), chosen, strict=True)))
        self._page.open(f"{self._address}/#/compare-runs?{query}")
        self._page.wait_for_text("Parallel Coordinates Plot")
        self._choose("parameters", "loss.margin.enabled")
        self._choose("metrics", "test/accuracy")

    def _choose(self, field: str, wanted: str) -> None:
        """Replaces the last name of a field."""
        place = ("parameters", "metrics").index(field)
        found = f"document.querySelectorAll('[class*=select-multiple]')[{place}]"
        self._page.wait_for(found)
        self._page.run(f"{found}.id = {json.dumps(field)}")
        self._page.click(f"#{field} [class*=item-remove]")
        self._page.click(f"#{field} input")
        self._page.type(wanted)
        self._page.click("[class*=option-content]", wanted, exact=True)
        self._page.click("h1, h2", "Comparing")  # closes the list

    def _charts(self, where: str, metric: str) -> None:
        query = urlencode({"searchFilter": where, "compareRunsMode": "CHART"})
        self._page.open(f"{self._experiment}/runs?{query}")
        self._page.wait_for_text("Group by")
        if "Group by: dynaloss.arm" not in self._page.text():  # kept from the picture before
            self._page.click("button", "Group by")
            self._page.click("[role=dialog] *, [role=menu] *", "dynaloss.arm")
        self._page.wait_for_text("Group: full")
        self._page.click("[data-component-id*=runschartsfilterinput]")
        self._page.type(metric)


DESIGN = ("none", "corrector-only", "margin-only", "full")
HARD = "tags.`dynaloss.condition` = 'symmetric 0.4 · IR 10'"


def main(storage: str = "results", folder: str = "docs/images") -> None:
    """Makes every picture."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    store = Workspace(Path(storage)).open_store(must_exist=True)
    experiment = store.experiment_ids()["quickstart"]
    where = "tags.`dynaloss.role` = 'trial'"
    trials = store.client.search_runs([experiment], where, max_results=1000)
    runs = {run.info.run_name: run.info.run_id for run in trials}
    with interface(Path(storage)) as address, browser() as page:
        pictures = Pictures(page, address, experiment, runs)
        pictures.prepare()
        for name in ("overview", "arms", "corrector", "figure", "settings"):
            getattr(pictures, name)()
            time.sleep(SETTLE_SECONDS)
            page.picture(Path(folder) / f"mlflow-{name}.png")
            print(f"{folder}/mlflow-{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
