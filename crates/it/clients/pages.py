"""Looks at the pages of a node in Chromium, as people with phones, wide screens, keyboards and screen readers do.

usage: pages.py ENDPOINT PATH...        ACEQUIA_SHOTS names a folder for screenshots of everything looked at.

Pages that these link to are looked at, too, one of each shape: so none is forgotten here.
"""

import re
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from browser import TOO_WIDE, WIDTHS, Chromium, axe, endpoint, judge, shoot, show, tab_through

paths = sys.argv[2:]


def computed(path):
    """What is computed in the background says so with status 202 and is then looked at when it is there."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(endpoint + path) as answer:
                if answer.status != 202:
                    return
        except urllib.error.HTTPError:
            return
        time.sleep(0.2)
    raise AssertionError(f"{path} is never computed")


def shape(path):
    """Tells kinds of pages apart: names and versions do not matter, nor values of a query."""
    split = urllib.parse.urlsplit(path)
    parts = split.path.strip("/").split("/")
    if parts[0] in ("datasets", "models") and len(parts) > 2:
        parts[1:3] = ["*", "*"]
    parts = [re.sub(r"v?[0-9]+[.][0-9]+[.][0-9]+", "*", part) for part in parts]
    return "/".join(parts), tuple(sorted(urllib.parse.parse_qs(split.query)))


def is_page(path):
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint + path, method="HEAD")) as answer:
            return answer.headers.get_content_type() == "text/html" and "attachment" not in (
                answer.headers.get("content-disposition") or ""
            )
    except urllib.error.HTTPError as error:
        return error.headers.get_content_type() == "text/html"


LINKS = "[...document.links].filter((one) => one.origin === location.origin).map((one) => one.pathname + one.search)"


def main():
    script = axe()
    with tempfile.TemporaryDirectory(prefix="acequia-pages-") as profile:
        browser = Chromium(profile)
        try:
            seen = {shape(path) for path in paths}
            # What was given is looked at first; what is found on the way is added at the end.
            for number, path in enumerate(paths):
                computed(path)
                passes, looks = 0, 0
                for scheme in ("light", "dark"):
                    for width, height, mobile in WIDTHS:
                        how = f"{width} px {scheme}"
                        show(browser, path, width, height, mobile, scheme)
                        assert browser.run("document.querySelectorAll('h1').length") == 1, path
                        wide = browser.run(TOO_WIDE)
                        assert not wide, f"{path} at {how} is too wide: {wide}"
                        looks += 1
                        shoot(browser, f"{number}-{scheme}-{width}")
                        if script and width in (320, 1280):
                            passes += judge(browser, script, path, how)
                # Text at twice its size must not spill either (WCAG 2.2, 1.4.4).
                show(browser, path, 1280, 900, False, "light")
                browser.run("document.documentElement.style.fontSize = '200%'")
                wide = browser.run(TOO_WIDE)
                assert not wide, f"{path} with text twice as large is too wide: {wide}"
                show(browser, path, 1280, 900, False, "light")
                stops = tab_through(browser, path)
                for link in browser.run(LINKS):
                    # Pages of donors have an origin and a test of their own.
                    if shape(link) not in seen and not link.startswith("/you") and is_page(link):
                        seen.add(shape(link))
                        paths.append(link)
                print(f"ok {path}: {looks} looks, {passes} rules of axe-core held, {stops} stops of the Tab key", flush=True)
        finally:
            browser.close()
    print(f"all {len(paths)} pages stand", flush=True)


main()
