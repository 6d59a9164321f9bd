"""Chromium over its own protocol, and what every page must stand: narrow and wide windows, light and dark, a keyboard, axe-core.

Nothing but Chromium is needed; axe-core, which judges accessibility (WCAG 2.2 AA), is taken from the package
`axe-playwright-python` and skipped where that is missing. ACEQUIA_SHOTS names a folder for screenshots.
"""

import base64
import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

endpoint = sys.argv[1].rstrip("/")
shots = os.environ.get("ACEQUIA_SHOTS")
WIDTHS = [(320, 640, True), (390, 844, True), (768, 1024, False), (1280, 900, False), (2560, 1300, False)]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Chromium:
    """Chromium behind its debugging pipe: messages are JSON that end with a zero byte."""

    def __init__(self, profile):
        to_read, self.out = os.pipe()
        self.into, to_write = os.pipe()
        # The protocol wants descriptors 3 and 4; high numbers first, so that neither overwrites the other.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 40) for fd in (to_read, to_write)]
        words = ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        redirect = f'exec "$@" 3<&{high[0]} 4>&{high[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", *words],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (to_read, to_write, *high):
            os.close(fd)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.into, 1 << 20)
            assert more, "Chromium went away"
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **arguments):
        self.number += 1
        asked = {"id": self.number, "method": method, "params": arguments}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self.out, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.message())

    def run(self, script):
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def key(self, name, code):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def close(self):
        self.call("Browser.close")
        self.process.wait(timeout=20)


def axe():
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        print("skipped: axe-core is not installed; run ./test", flush=True)
        return None
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


def show(browser, path, width, height, mobile, scheme):
    """Opens a page; answers what the browser asked for and complained about."""
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
    )
    browser.call(
        "Emulation.setEmulatedMedia",
        features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ],
    )
    browser.events.clear()
    browser.call("Page.navigate", url=endpoint + path)
    browser.wait("Page.loadEventFired")
    asked, said = [], []
    for event in browser.events:
        method, told = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            asked.append(told["request"]["url"])
        elif method == "Log.entryAdded" and told["entry"]["source"] != "network":
            said.append(told["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            said.append(method)
    elsewhere = [url for url in asked if not url.startswith(endpoint + "/") and not url.startswith("data:")]
    assert not elsewhere, f"{path} asks others: {elsewhere}"
    assert not said, f"{path}: {said}"


# Whatever makes the page wider than the window, but for what scrolls inside its own frame.
TOO_WIDE = """(() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide <= 0) return [];
  const scrolls = e => { for (; e; e = e.parentElement) if (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX)) return true; return false; };
  return [...document.querySelectorAll('body *')].filter(e => !scrolls(e) && e.getBoundingClientRect().right > innerWidth + 0.5)
    .slice(0, 5).map(e => `${e.tagName}.${e.className.baseVal ?? e.className} +${wide}`).concat(`page +${wide}`);
})()"""

FOCUSED = """(() => {
  const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
  return { tag: e.tagName, text: (e.innerText || e.getAttribute('aria-label') || e.name || '').slice(0, 40), at: [r.x, r.y].map(Math.round).join(),
    seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.bottom > 0 && r.top < innerHeight };
})()"""


def tab_through(browser, path):
    """Every stop of the Tab key is visible and marked; the skip link comes first."""
    stops, seen = 0, set()
    for at in range(400):
        browser.key("Tab", 9)
        focused = browser.run(FOCUSED)
        if focused["tag"] == "BODY":
            break
        where = (focused["tag"], focused["text"], focused["at"])
        if at == 0:
            assert "Skip" in focused["text"], focused
        assert focused["seen"], f"{path}: the focus cannot be seen: {focused}"
        seen.add(where)
        stops += 1
    assert stops > 3, (path, stops)
    return stops


def judge(browser, script, path, how):
    browser.run(script + "; true")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    result = browser.run(
        "axe.run(document, %s).then(r => ({ passes: r.passes.length, violations: r.violations.map("
        "v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' | ' + n.failureSummary)]) }))"
        % json.dumps({"runOnly": {"type": "tag", "values": tags}})
    )
    assert not result["violations"], f"{path} {how}: " + json.dumps(result["violations"], indent=1)
    return result["passes"]


def shoot(browser, name):
    if shots:
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        (Path(shots) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
