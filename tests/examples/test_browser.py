"""The page as people see it: in a headless Chromium, by the example in each of its ways."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import services
from services.browser import look

WIDE, NARROW = (1280, 900), (320, 700)


class _Goal(BaseHTTPRequestHandler):
    """A page somewhere else, with an icon of no bytes."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>Arrived</title><link rel=icon href='data:,'><p>Here it is."
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def goal() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Goal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a/rather/long/path?with=a&query=in+it#and-more"
        server.shutdown()
        thread.join()


def wait_for(condition: Any, what: str) -> Any:
    from selenium.common.exceptions import StaleElementReferenceException

    def tried() -> Any:
        try:
            return condition()
        except StaleElementReferenceException:
            return None

    return services.wait_for(tried, what)


def console(browser: Any) -> list[Any]:
    return browser.get_log("browser")


def requested(browser: Any) -> dict[str, int]:
    """All that was asked for since the last call, with the status; 0 if there was none."""
    urls: dict[str, int] = {}
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        parameters = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            urls.setdefault(parameters["request"]["url"], 0)
        elif message["method"] == "Network.responseReceived":
            urls[parameters["response"]["url"]] = parameters["response"]["status"]
    return urls


def luminance(color: str) -> float:
    parts = color[color.index("(") + 1 : -1].split(",")[:3]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (float(part) / 255 for part in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# The color of each element that has a text of its own, and what it stands on.
COLORS = """
return [...document.querySelectorAll("body *")].filter(
  (element) => element.offsetParent && [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
).map((element) => {
  const color = getComputedStyle(element).color;
  let below = element, background;
  do {
    background = getComputedStyle(below).backgroundColor;
    below = below.parentElement;
  } while (background === "rgba(0, 0, 0, 0)" && below);
  return [element.textContent.trim(), color, background];
});
"""


def check_looks(browser: Any) -> None:
    """Nothing sticks out to the side, and all texts are readable as WCAG 2 AA has it."""
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    scroll, inner = browser.execute_script(widths)
    assert scroll <= inner
    colors = browser.execute_script(COLORS)
    assert len(colors) > 8
    for text, color, background in colors:
        lighter, darker = sorted((luminance(color), luminance(background)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, color, background)


def test_shorten_and_follow_in_a_browser(browser, shared, goal, screenshots):
    from selenium.webdriver.common.by import By

    look(browser, WIDE, "light")
    console(browser), requested(browser)  # of the test before
    before = len(shared.get("/api/links").json())
    browser.get(shared.url)
    rows = (By.CSS_SELECTOR, "#links li")
    wait_for(lambda: len(browser.find_elements(*rows)) == min(before, 20), "the newest links")

    field, button = browser.find_element(By.ID, "url"), browser.find_element(By.ID, "shorten")
    assert (field.accessible_name, field.aria_role) == ("Long address", "textbox")
    assert (button.accessible_name, button.aria_role) == ("Shorten", "button")
    assert browser.title
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1
    assert len(browser.find_elements(By.TAG_NAME, "main")) == 1

    field.send_keys(goal)
    button.click()
    [short] = wait_for(
        lambda: browser.find_elements(By.CSS_SELECTOR, "#result a"), "the short link"
    )
    address = short.get_attribute("href")
    assert short.text == address
    assert address.startswith(f"{shared.url}/")
    assert field.get_attribute("value") == ""
    first = wait_for(
        lambda: [
            row
            for row in browser.find_elements(*rows)[:1]
            if goal in row.get_attribute("innerHTML")
            or goal in row.find_element(By.CLASS_NAME, "target").text
        ],
        "the new link among the newest",
    )
    assert first[0].find_element(By.TAG_NAME, "a").get_attribute("href") == address

    for size, name in ((WIDE, "wide"), (NARROW, "narrow")):
        for scheme in ("light", "dark"):
            look(browser, size, scheme)
            check_looks(browser)
            path = screenshots / f"{shared.way}-{name}-{scheme}.png"
            assert browser.save_screenshot(str(path))
            assert path.stat().st_size > 5000

    look(browser, WIDE, "light")
    seen = requested(browser)
    kinds = {Path(url).suffix for url in seen}
    assert {".css", ".js", ".svg"} <= kinds, seen
    assert {url: status for url, status in seen.items() if status not in (200, 201)} == {}
    assert [url for url in seen if not url.startswith(f"{shared.url}/")] == []
    assert console(browser) == []

    browser.find_element(By.CSS_SELECTOR, "#result a").click()
    wait_for(lambda: browser.title == "Arrived", "the page that the link leads to")
    assert browser.current_url == goal
    assert console(browser) == []


def test_what_goes_wrong_is_said_in_the_page(browser, shared, screenshots):
    from selenium.webdriver.common.by import By

    look(browser, WIDE, "light")
    browser.get(shared.url)
    console(browser)
    field, button = browser.find_element(By.ID, "url"), browser.find_element(By.ID, "shorten")
    field.send_keys("not an address")
    button.click()
    assert not browser.execute_script("return document.getElementById('url').validity.valid")
    field.clear()
    # A URL for the browser, but none that the server takes.
    field.send_keys("ftp://example.org/")
    button.click()
    error = browser.find_element(By.ID, "error")
    wait_for(lambda: error.text.startswith("The address must be"), "the error")
    assert error.aria_role == "alert"
    assert field.get_attribute("aria-invalid") == "true"
    assert browser.find_elements(By.CSS_SELECTOR, "#result a") == []
    for scheme in ("light", "dark"):
        look(browser, NARROW, scheme)
        check_looks(browser)
        assert browser.save_screenshot(str(screenshots / f"{shared.way}-error-{scheme}.png"))
    # Chromium itself tells of the status; the page's script and its policy have nothing to add.
    assert [entry for entry in console(browser) if "status of 422" not in entry["message"]] == []


def test_what_fails_is_no_fault_of_the_address(browser, start):
    from selenium.webdriver.common.by import By

    shortener = start("flask", DATABASE_URL="postgresql://app@127.0.0.1:1/none")
    browser.get(shortener.url)
    field, button = browser.find_element(By.ID, "url"), browser.find_element(By.ID, "shorten")
    error = browser.find_element(By.ID, "error")
    failed = "The server failed with status 500. Try again in a moment."
    wait_for(lambda: error.text == failed, "the failure to read the newest links")
    field.send_keys("https://example.org/")
    button.click()
    wait_for(lambda: button.is_enabled() and error.text == failed, "the failure to keep a link")
    shortener.close()
    button.click()
    wait_for(lambda: error.text.startswith("The server can't be reached."), "no server")
    assert field.get_attribute("aria-invalid") is None
    assert field.get_attribute("value") == "https://example.org/", "it can be sent again"
    console(browser)  # Chromium itself tells of what failed


def test_the_heartbeat_as_a_page(browser, start, screenshots):
    shortener = start("fastapi", DOCKERFLOW_HEARTBEAT_HTML="true", REDIS_URL="redis://127.0.0.1:1")
    look(browser, WIDE, "light")
    console(browser), requested(browser)
    address = f"{shortener.url}/__heartbeat__"
    browser.get(address)
    assert browser.title == "Heartbeat: warning"
    text = browser.find_element("tag name", "body").text
    for name, status in shortener.checks()[1].items():  # which are JSON for who asks for nothing
        assert f"{name} {status}" in text
    assert "dockerflow.health.E004" in text
    for size, name in ((WIDE, "wide"), (NARROW, "narrow")):
        for scheme in ("light", "dark"):
            look(browser, size, scheme)
            check_looks(browser)
            assert browser.save_screenshot(str(screenshots / f"heartbeat-{name}-{scheme}.png"))
    assert console(browser) == []
    assert [url for url in requested(browser) if not url.startswith("data:")] == [address]
