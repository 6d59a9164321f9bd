"""Looks at the pages of a node in Chromium, as people with phones, wide screens, keyboards and screen readers do.

usage: pages.py ENDPOINT PATH...        ACEQUIA_SHOTS names a folder for screenshots of everything looked at.
"""

import sys
import tempfile
import time
import urllib.error
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


def main():
    script = axe()
    with tempfile.TemporaryDirectory(prefix="acequia-pages-") as profile:
        browser = Chromium(profile)
        try:
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
                        if script and width in (390, 1280):
                            passes += judge(browser, script, path, how)
                # Text at twice its size must not spill either (WCAG 2.2, 1.4.4).
                show(browser, path, 1280, 900, False, "light")
                browser.run("document.documentElement.style.fontSize = '200%'")
                wide = browser.run(TOO_WIDE)
                assert not wide, f"{path} with text twice as large is too wide: {wide}"
                show(browser, path, 1280, 900, False, "light")
                stops = tab_through(browser, path)
                print(f"ok {path}: {looks} looks, {passes} rules of axe-core held, {stops} stops of the Tab key", flush=True)
        finally:
            browser.close()
    print(f"all {len(paths)} pages stand", flush=True)


main()
