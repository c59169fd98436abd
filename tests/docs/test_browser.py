"""The documentation as a browser shows it: wide and narrow, light and dark."""

from __future__ import annotations

import base64
import fcntl
import functools
import os
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pages
import pytest
import services
from services.browser import look

pytest.importorskip("sphinx")
pytestmark = pytest.mark.timeout(600)  # the first test waits for the build

NAMES = sorted(
    path.relative_to(pages.DOCS).with_suffix("").as_posix()
    for path in pages.PAGES
    if path.is_relative_to(pages.DOCS)
)
SIZES = {"wide": (1280, 900), "narrow": (360, 800)}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder with the pages, which the first of xdist's processes builds for all of them."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "html"
    with (base / "html.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", pages.DOCS]
            subprocess.run([*command, base / "building"], check=True)
            (base / "building").rename(folder)
    return folder


@pytest.fixture(scope="module")
def site(html):
    handler = functools.partial(Quiet, directory=html)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def choose(browser, theme):
    """Choose a theme as the page's own switch does."""
    browser.execute_script("document.body.dataset.theme = arguments[0]", theme)


def screenshot(browser, path):
    """Save the whole page, whatever its height."""
    options = {"captureBeyondViewport": True}
    data = browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    path.write_bytes(base64.b64decode(data))


# Each element that sticks out of the window and of all boxes that scroll; and pictures that are none.
FAULTS = """
const scrolls = (element) => element && (
  /auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
const out = [...document.querySelectorAll("article *")].filter((element) =>
  element.getBoundingClientRect().right > innerWidth + 1 && !scrolls(element.parentElement));
const broken = [...document.images].filter((image) => !image.naturalWidth);
return [...out, ...broken].map((element) => element.outerHTML.slice(0, 200));
"""
WIDTHS = "return [document.documentElement.scrollWidth, innerWidth]"


@pytest.mark.parametrize("name", NAMES)
def test_page_fits(browser, site, name):
    """Its screenshots are made where DOCKERFLOW_TEST_SCREENSHOTS asks for them."""
    folder = os.environ.get("DOCKERFLOW_TEST_SCREENSHOTS")
    if folder is not None:
        folder = Path(folder) / "docs" / name
        folder.mkdir(parents=True, exist_ok=True)
    for width, size in SIZES.items():
        look(browser, size, "light")
        browser.get(f"{site}/{name}.html")
        scroll, inner = browser.execute_script(WIDTHS)
        assert scroll <= inner
        assert browser.execute_script(FAULTS) == []
        if folder is not None:
            for theme in ("light", "dark"):
                choose(browser, theme)
                screenshot(browser, folder / f"{width}-{theme}.png")


PICTURES = [name for name in NAMES if ".svg)" in (pages.DOCS / f"{name}.md").read_text("utf-8")]


def settled(picture):
    """Return the picture as it looks once nothing changes any more."""
    looks = [b"", picture.screenshot_as_png]

    def has_settled():
        time.sleep(0.1)
        looks.append(picture.screenshot_as_png)
        return looks[-1] == looks[-2]

    services.wait_for(has_settled, "a picture that stays the same")
    return looks[-1]


@pytest.mark.parametrize("name", PICTURES)
def test_diagrams_follow_the_switch(browser, site, name):
    """And the system's preference, as long as nobody has chosen."""
    look(browser, SIZES["wide"], "dark")
    browser.get(f"{site}/{name}.html")
    for picture in browser.find_elements("css selector", "article img[src$='.svg']"):
        if "verify" in picture.get_attribute("src"):
            continue  # a terminal, which is dark in both
        choose(browser, "light")
        light = settled(picture)
        for theme in ("dark", "auto"):
            choose(browser, "light")
            services.wait_for(lambda: picture.screenshot_as_png == light, "light again")  # noqa: B023
            choose(browser, theme)
            services.wait_for(lambda: picture.screenshot_as_png != light, theme)  # noqa: B023


def test_what_is_copied_has_no_prompt(browser, site):
    from selenium import webdriver

    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": permissions, "origin": site}
    )
    look(browser, SIZES["wide"], "light")
    browser.get(f"{site}/start/fastapi.html")
    copied = []
    for block in browser.find_elements("css selector", ".highlight-console"):
        button = block.find_element("class name", "copybtn")
        webdriver.ActionChains(browser).move_to_element(block).click(button).perform()
        copied.append(
            browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        )
    page = pages.DOCS / "start" / "fastapi.md"
    commands = [
        "\n".join(command for command, _ in pages.commands(block.text))
        for block in pages.blocks(page)
        if block.language == "console"
    ]
    assert [text.strip() for text in copied] == commands


def test_hyphens_stay_hyphens(browser, site):
    browser.get(f"{site}/command.html")
    text = browser.find_element("tag name", "article").text
    assert "--break" in text
    assert "\N{EN DASH}" not in text
