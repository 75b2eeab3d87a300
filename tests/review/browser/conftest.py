"""A headless Chromium and servers in processes of their own, which tests may kill."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audit_rows import example_row
from PIL import Image
from review_pages import PATIENCE_MS, Server, Visitor, enter
from reviews import SmallAudit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = "a-token-of-tests"
HERE = re.compile(r"http://127\.0\.0\.1:\d+/|data:|blob:")


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'dev'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    # Drawn without a graphics card: slow, but the same everywhere.
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as driver:
        playwright.expect.set_options(timeout=PATIENCE_MS)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*flags, "--ignore-gpu-blocklist"])
        yield browser
        browser.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, which end with the test."""
    started: list[Server] = []

    def make(audit: SmallAudit, *options: str) -> Server:
        started.append(Server(audit, options))
        return started[-1].start()

    yield make
    for server in started:
        server.kill()


@pytest.fixture
def serve_here() -> Iterator[Callable[..., str]]:
    """Serves an audit from a thread, which starts at once; gives the address."""
    import uvicorn

    from segmend.review.application import make_application

    running = []

    def make(audit: SmallAudit, **options: object) -> str:
        app = make_application(audit.review(**options), TOKEN)
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/?token={TOKEN}"

    yield make
    for server, thread in running:
        server.should_exit = True
        thread.join(60)


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Visitor]]:
    """Opens the page as a reader. Nothing may go wrong in it, nor anything be fetched from elsewhere."""
    contexts, visitors = [], []

    def make(address: str, name: str | None = "Anna", **options: object) -> Visitor:
        contexts.append(chromium.new_context(**{"viewport": {"width": 1400, "height": 900}} | options))
        visitor = Visitor(contexts[-1].new_page())
        visitors.append(visitor)
        visitor.watch()
        visitor.page.goto(address)
        if name is not None:
            enter(visitor, name)
        return visitor

    yield make
    for context in contexts:
        context.close()
    for visitor in visitors:
        assert visitor.wrong == []
        assert [url for url in visitor.asked if not HERE.match(url)] == []


@pytest.fixture
def small(make_review_audit, serve_here, visit) -> Callable[..., Visitor]:
    """Opens an audit of three cases with two labels each."""

    def make(*cases: str, **options: object) -> Visitor:
        return visit(serve_here(make_review_audit(*cases, **options)))

    return make


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> SmallAudit:
    """An audit of 2500 cases with two labels each; all files of a kind are the same one."""
    made = SmallAudit(tmp_path_factory.mktemp("many"))
    made.add("case_0000")
    folders = [
        made.data / "imagesTr",
        made.data / "labelsTr",
        made.place.root / "proposals",
        made.place.root / "issues",
    ]
    files = [path for folder in folders for path in folder.iterdir()]
    rows, regions = list(made.rows), list(made.regions)
    for number in range(1, 2500):
        name = f"case_{number:04d}"
        for path in files:
            os.link(path, path.with_name(path.name.replace("case_0000", name)))
        made.rows += [
            replace(row, case=name, rank=row.rank + 2 * number, annotator="AB"[number % 2], expected_dice=number / 2500)
            for row in rows
        ]
        made.regions += [replace(region, case=name) for region in regions]
    made.finish()
    return made


@pytest.fixture
def audit_folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def flat_audit(tmp_path: Path) -> SmallAudit:
    """Two pictures with one label each, of which the proposal is larger."""
    made = SmallAudit(tmp_path, {"background": 0, "cell": 1}, ending=".png", channels=("microscopy",))
    for rank, case in enumerate("ab", start=1):
        random = np.random.default_rng(rank)
        label, proposal, issues = np.zeros((3, 12, 16), np.uint8)
        label[3:6, 4:8] = proposal[3:6, 4:12] = 1
        issues[3:6, 8:12] = 2
        pictures = {
            made.data / "imagesTr" / f"{case}_0000.png": random.integers(0, 256, (12, 16), np.uint8),
            made.data / "labelsTr" / f"{case}.png": label,
            made.place.proposal(case, ".png"): proposal,
            made.place.issues(case, ".png"): issues,
        }
        for path, pixels in pictures.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        made.rows.append(example_row(rank, case, "cell", 0.2))
    made.finish()
    return made
