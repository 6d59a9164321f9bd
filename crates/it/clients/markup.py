"""Looks in Chromium for texts that became markup: nothing of `markup.txt` may run, or become part of a page.

usage: markup.py ENDPOINT FILE_OR_PATH...        Paths beginning with ./ or a folder are files; `?` at the end is followed by a text.

Texts of `markup.txt` stand in what the pages show; `@@` in them is the number of their line. At the end, each must have been
seen as text somewhere.
"""

import html
import signal
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from browser import Chromium, endpoint, shoot

TEXTS = [
    line.replace("@@", str(number))
    for number, line in enumerate((Path(__file__).parent / "markup.txt").read_text().splitlines(), 1)
]
# What a text would have left behind, and where a page would lead that it sends people to.
LEFT = """(() => [
  ...(window.ran ?? []).map(n => `ran ${n}`),
  ...[...document.querySelectorAll('[data-payload], x, base, iframe, meta[http-equiv=refresh]')].map(e => e.outerHTML.slice(0, 200)),
  ...[...document.querySelectorAll('[href], [src], [action], [formaction]')].flatMap(e =>
    ['href', 'src', 'action', 'formaction'].map(a => (e.getAttribute(a) ?? '').trim())
      .filter(v => /^(javascript|data:text|vbscript)/i.test(v) || /^\\/\\/h\\d/.test(v))),
  ...[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].filter(a => a.name.startsWith('on')).map(a => `${e.tagName} ${a.name}`)),
])()"""


def fetch(address):
    """A file is handed out as what it is: a browser is told that it is no page, and not to guess otherwise."""
    with urllib.request.urlopen(address) as answer:
        kind, guess = answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]
        assert not kind.startswith(("text/html", "image/svg", "application/xhtml")) and guess == "nosniff", (address, kind)
        return answer.read().decode()


def is_elsewhere(address):
    return (urllib.parse.urlsplit(address).hostname or "").endswith(".example")


def visit(browser, address):
    browser.events.clear()
    browser.call("Page.navigate", url=address)
    browser.wait("Page.loadEventFired")
    # Time for what runs a little later: an image that is not there, an animation, a focus.
    browser.run("new Promise(done => setTimeout(done, 50))")
    said = []
    for event in browser.events:
        method, told = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded" and told["entry"]["source"] != "network":
            said.append(told["entry"]["text"])
        elif method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
            said.append(method)
        elif method == "Network.requestWillBeSent" and is_elsewhere(told["request"]["url"]):
            said.append(told["request"]["url"])
    # A page's policy that has to stop something would say so here: the text must not have become markup to begin with.
    assert not said, f"{address}: {said}"
    left = browser.run(LEFT)
    assert not left, f"{address}: {left}"
    here = browser.run("location.href")
    assert not is_elsewhere(here), here
    return browser.run("document.documentElement.innerText + ' ' + document.title")


def main():
    # A page that never loads should be said, not waited for.
    signal.alarm(400)
    addresses = []
    for word in sys.argv[2:]:
        if word.endswith(("?", "=")) or word.endswith("/?"):
            addresses += [endpoint + word.rstrip("?") + urllib.parse.quote(text, safe="") for text in TEXTS]
        elif Path(word).is_file():
            addresses.append(Path(word).as_uri())
        else:
            addresses.append(endpoint + word)
    unseen = set(range(len(TEXTS)))
    with tempfile.TemporaryDirectory(prefix="acequia-markup-") as profile:
        browser = Chromium(profile)
        try:
            browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.ran = []")
            # The corpus itself works: a page that does not escape is caught.
            careless = Path(profile) / "careless.html"
            for number, text in enumerate(TEXTS[:7], 1):
                careless.write_text(f"<title>a</title><p title='{text}'>{text}</p>")
                try:
                    visit(browser, careless.as_uri())
                except AssertionError:
                    continue
                raise SystemExit(f"a page that shows text {number} as it is was not found out")
            for at, address in enumerate(addresses):
                shown = fetch(address) if "/resolve/" in address else visit(browser, address)
                shown = " ".join(shown.split())
                unseen -= {n for n in unseen if " ".join(TEXTS[n].split()) in shown}
                if address.startswith("file:") or "?" not in address:
                    shoot(browser, f"markup-{at}")
        finally:
            browser.close()
    assert not unseen, "never shown as text: " + ", ".join(html.escape(TEXTS[n]) for n in sorted(unseen))
    print(f"{len(TEXTS)} texts on {len(addresses)} pages: all of them stayed texts", flush=True)


main()
