"""Is a donor, and then an institution, in Chromium with a passkey: comes in by a code, reads, chooses, withdraws, and comes back.

usage: donor.py ENDPOINT DONORS_CODE INSTITUTIONS_CODE        ACEQUIA_SHOTS names a folder for screenshots.

Every page is looked at narrow and wide, light and dark, and in every language, judged by axe-core, and gone through by keyboard.
What needs no passkey is done once more with scripts switched off.
"""

import json
import re
import sys
import tempfile

from browser import TOO_WIDE, Chromium, axe, endpoint, judge, shoot, show, tab_through

WINDOWS = [(320, 640, True), (1280, 900, False)]
LANGUAGES = ["en", "de", "fr"]


def authenticator(browser, signs=0):
    """A device with a finger on it; a passkey may be put on it that was used so often before."""
    browser.call("WebAuthn.enable", enableUI=False)
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    return browser.call("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"]


def at(browser):
    return browser.run("location.pathname + location.search")


def go(browser, path):
    browser.events.clear()
    browser.call("Page.navigate", url=endpoint + path)
    browser.wait("Page.loadEventFired")


def after(browser, act, expected):
    """Does something and waits for the page that it leads to."""
    browser.events.clear()
    act()
    for _ in range(4):
        browser.wait("Page.loadEventFired")
        if re.fullmatch(expected, at(browser)):
            return
        browser.events = [e for e in browser.events if e.get("method") != "Page.loadEventFired"]
    raise AssertionError(f"{at(browser)} is not {expected}")


def click(browser, selector, expected):
    found = f"document.querySelector({json.dumps(selector)})"
    assert browser.run(f"{found} !== null"), f"{at(browser)} has no {selector}"
    after(browser, lambda: browser.run(f"{found}.click()"), expected)


def text(browser):
    return browser.run("document.body.innerText")


def press(browser, words, expected):
    """With the keyboard alone: from the top of the page to what is called so, and Enter."""
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(80):
        browser.key("Tab", 9)
        said = browser.run("(document.activeElement.textContent || '').trim()")
        if said.startswith(words):
            def enter():
                browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
                             windowsVirtualKeyCode=13)
                browser.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter", windowsVirtualKeyCode=13)
            after(browser, enter, expected)
            return
    raise AssertionError(f"the keyboard does not reach {words!r} on {at(browser)}")


def look(browser, script, path):
    """The page in every window, scheme and language."""
    rules = 0
    for language in LANGUAGES:
        joint = "&" if "?" in path else "?"
        address = f"{path}{joint}language={language}"
        for scheme in ("light", "dark"):
            for width, height, mobile in WINDOWS:
                # Colours and widths cross in one language; words are what differs in the others.
                if language != "en" and (scheme == "light") != mobile:
                    continue
                show(browser, address, width, height, mobile, scheme)
                assert browser.run("document.documentElement.lang") == language, address
                assert browser.run("document.querySelectorAll('h1').length") == 1, address
                wide = browser.run(TOO_WIDE)
                assert not wide, f"{address} at {width} px is too wide: {wide}"
                name = path.strip("/").replace("/", "-").split("?")[0] or "home"
                if language != "fr":
                    shoot(browser, f"{name}-{language}-{scheme}-{width}")
                if script:
                    rules += judge(browser, script, address, f"{width} px {scheme} {language}")
        show(browser, address, 1280, 900, False, "light")
        browser.run("document.documentElement.style.fontSize = '200%'")
        wide = browser.run(TOO_WIDE)
        assert not wide, f"{address} with text twice as large is too wide: {wide}"
    if "language" not in path:
        show(browser, f"{path}{'&' if '?' in path else '?'}language=en", 1280, 900, False, "light")
        skip_link(browser, path)
    print(f"ok {path}: {len(LANGUAGES)} languages, {rules} rules of axe-core held", flush=True)


def skip_link(browser, path):
    stops = tab_through(browser, path)
    assert stops > 3, path


def join(browser, code, home):
    go(browser, "/you/join")
    browser.run(f"document.getElementById('code').value = {json.dumps(code.lower())}")
    click(browser, "form[action='/you/join'] button", "/you/passkeys")
    click(browser, "button[data-ceremony]", home)


def donor(browser, script, code):
    for path in ("/you/sign-in", "/you/join", "/receipt", "/you/nothing"):
        look(browser, script, path)
    device = authenticator(browser)
    join(browser, code, "/you")

    # What was allowed on paper is stopped here, one by one.
    go(browser, "/you?language=en")
    while browser.run("document.querySelector('.yes form[action=\"/you/refuse\"] button') !== null"):
        click(browser, ".yes form[action='/you/refuse'] button", "/you")
    assert "You do not allow this." in text(browser)

    click(browser, "form[action='/you/allow'] button", "/you")
    assert "You allow this." in text(browser)
    go(browser, "/you/allow?purpose=open-publication")
    browser.run("document.getElementById('recall-yes').checked = true")
    click(browser, "form[action='/you/allow'] button[type=submit]", "/you/allow")
    assert "They cannot" in text(browser)
    browser.run("document.getElementById('recall-no').checked = true")
    click(browser, "form[action='/you/allow'] button[type=submit]", "/you")
    assert "It counts from" in text(browser)

    for path in ("/you", "/you/allow?purpose=open-publication", "/you/withdraw", "/you/timeline", "/you/receipt",
                 "/you/requests", "/you/passkeys"):
        look(browser, script, path)

    # The code of the receipt leads to a page that says it is genuine.
    go(browser, "/you/receipt?language=en")
    modules = browser.run("document.querySelector('svg.qr path').getAttribute('d').length")
    assert modules > 5000, modules

    # A right is asked for and taken back.
    go(browser, "/you/requests")
    browser.run("document.getElementById('right-erasure').checked = true")
    click(browser, "form[action='/you/requests'] button", "/you/requests/[0-9]+")
    request = at(browser)
    look(browser, script, request)
    assert "restricted" in (go(browser, "/you") or text(browser))
    go(browser, request)
    click(browser, "form button.calm", request)

    # Out and in again, with the passkey.
    go(browser, "/you")
    click(browser, "form[action='/you/sign-out'] button", "/you/sign-in")
    go(browser, "/you/timeline")
    assert at(browser) == "/you/sign-in?next=/you/timeline", at(browser)
    click(browser, "button[data-ceremony]", "/you/timeline")
    told = text(browser)
    for line in ("You were invited", "You signed in", "Allowed:", "You asked:", "You took request"):
        assert line in told, line

    # With the keyboard alone, and without scripts: two presses from the own page to being out, so no more than five screens.
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    go(browser, "/you")
    screens = [at(browser)]
    press(browser, "Withdraw", "/you/withdraw")
    screens.append(at(browser))
    press(browser, "Withdraw this far", "/you/report")
    screens.append(at(browser))
    assert len(screens) <= 5, screens
    assert "Your record is opened for nothing new." in text(browser)
    go(browser, "/you")
    press(browser, "Allow: Health research", "/you")
    assert "You allow this." in text(browser)
    go(browser, "/you/sign-in?again=1")
    assert "JavaScript" in text(browser), "without scripts a page says what they are needed for"
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    look(browser, script, "/you/report")

    # A copy of the passkey that lags behind opens nothing.
    found = browser.call("WebAuthn.getCredentials", authenticatorId=device)["credentials"]
    assert len(found) == 1 and found[0]["isResidentCredential"], found
    browser.call("WebAuthn.removeCredential", authenticatorId=device, credentialId=found[0]["credentialId"])
    browser.call("WebAuthn.addCredential", authenticatorId=device, credential={**found[0], "signCount": 0})
    go(browser, "/you?language=en")
    click(browser, "form[action='/you/sign-out'] button", "/you/sign-in")
    browser.run("document.querySelector('button[data-ceremony]').click()")
    for _ in range(100):
        if "copy" in browser.run("document.getElementById('said').textContent"):
            break
        browser.run("new Promise(r => setTimeout(r, 50))")
    else:
        raise AssertionError(browser.run("document.getElementById('said').textContent"))
    assert at(browser) == "/you/sign-in", at(browser)
    browser.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=device)
    print("ok a donor came in, chose, withdrew and came back; a copied passkey did not", flush=True)


def institution(browser, script, code):
    device = authenticator(browser)
    join(browser, code, "/institution")
    look(browser, script, "/institution")
    go(browser, "/institution?language=en")
    browser.run("document.getElementById('choose-research').checked = true")
    click(browser, "form[action='/institution/permit'] button", "/institution")
    assert "for one consent" in text(browser)
    click(browser, "form[action='/institution/end'] button", "/institution")
    assert "Ended" in text(browser)
    browser.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=device)
    print("ok an institution saw what it gave, permitted, and ended it", flush=True)


def main():
    script = axe()
    with tempfile.TemporaryDirectory(prefix="acequia-donor-") as profile:
        browser = Chromium(profile)
        try:
            donor(browser, script, sys.argv[2])
            institution(browser, script, sys.argv[3])
        finally:
            browser.close()


main()
