"""Signs in through a provider in Chromium and looks at every page of access, narrow and wide, light and dark.

usage: access_pages.py ENDPOINT REGISTERED CONTROLLED        ACEQUIA_SHOTS names a folder for screenshots.
"""

import json
import sys
import tempfile

from browser import TOO_WIDE, Chromium, axe, endpoint, judge, shoot, show, tab_through

registered, controlled = sys.argv[2:]
WINDOWS = [(320, 640, True), (1280, 900, False)]


def settle(browser, wanted):
    for _ in range(8):
        if wanted(browser.run("location.href")):
            return
        browser.events = [event for event in browser.events if event.get("method") != "Page.loadEventFired"]
        browser.wait("Page.loadEventFired")
    raise AssertionError(browser.run("location.href"))


def act(browser, script, wanted):
    browser.events.clear()
    browser.run(script)
    browser.wait("Page.loadEventFired")
    settle(browser, wanted)


def look(browser, script, path, name):
    for scheme in ("light", "dark"):
        for width, height, mobile in WINDOWS:
            show(browser, path, width, height, mobile, scheme)
            here = browser.run("location.pathname")
            assert here == path.split("?")[0], (here, path)
            how = f"{width} px {scheme}"
            wide = browser.run(TOO_WIDE)
            assert not wide, f"{path} at {how} is too wide: {wide}"
            assert browser.run("document.querySelectorAll('h1').length") == 1, path
            if script:
                judge(browser, script, path, how)
            shoot(browser, f"access-{name}-{scheme}-{width}")
    stops = tab_through(browser, path)
    print(f"ok {name}: {stops} stops of the Tab key", flush=True)


def main():
    script = axe()
    own = lambda path: lambda href: href.split("?")[0] == endpoint + path  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="acequia-access-") as profile:
        browser = Chromium(profile)
        try:
            look(browser, script, "/login", "login")
            look(browser, script, f"/datasets/{registered}/access", "visitor")
            # Through the provider's own pages, which are elsewhere.
            show(browser, f"/login?next=/datasets/{registered}/access", 1280, 900, False, "light")
            act(browser, "document.querySelector('a.button').click()", lambda href: "/interaction/" in href)
            browser.run("document.querySelector('[name=login]').value = 'clara'; document.querySelector('[name=password]').value = 'any'")
            act(browser, "document.querySelector('[type=submit]').click()", lambda href: "/interaction/" in href)
            act(browser, "document.querySelector('[type=submit]').click()", own(f"/datasets/{registered}/access"))
            look(browser, script, f"/datasets/{registered}/access", "promise")
            boxes = browser.run("document.querySelectorAll('[type=checkbox]').length")
            ticked = browser.run("[...document.querySelectorAll(':checked')].map(e => e.outerHTML)")
            assert boxes and not ticked, (boxes, ticked, browser.run("location.href"))
            browser.run("document.querySelectorAll('[type=checkbox]').forEach(box => box.click())")
            act(browser, "document.querySelector('main form button').click()", own(f"/datasets/{registered}/access"))
            assert "The rows are open to you" in browser.run("document.body.innerText")
            look(browser, script, f"/datasets/{registered}/access", "promised")
            look(browser, script, f"/datasets/{controlled}/access", "request")
            for name, text in {
                "name": "Clara", "contact": "clara@uni.example", "institution": "Example University", "country": "DE",
                "project": "Survival", "statement": "We compare how long people live.", "ethics": "12/2026",
            }.items():
                browser.run(f"document.querySelector('[name={name}]').value = {json.dumps(text)}")
            act(browser, "document.querySelector('main form button').click()", own(f"/datasets/{controlled}/access"))
            assert "nobody decided yet" in browser.run("document.body.innerText")
            look(browser, script, f"/datasets/{controlled}/access", "asked")
            show(browser, "/account", 1280, 900, False, "light")
            browser.run("document.querySelector('#token-name').value = 'a laptop'")
            act(browser, "document.querySelector('#token-days').form.querySelector('button').click()", own("/account/tokens"))
            assert "hf_acequia_" in browser.run("document.body.innerText")
            if script:
                judge(browser, script, "/account/tokens", "1280 px light")
            shoot(browser, "access-token-light-1280")
            look(browser, script, "/account", "account")
            act(browser, "document.querySelector('form[action=\"/logout\"] button').click()", own("/login"))
            look(browser, script, "/login?out=1", "signed-out")
            assert "Sign out there" in browser.run("document.body.innerText")
        finally:
            browser.close()
    print("all pages of access stand", flush=True)


main()
