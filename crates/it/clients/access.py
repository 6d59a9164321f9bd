"""Gets access to what is not open, as researchers do, with unmodified clients; and loses it again.

usage: access.py ENDPOINT REGISTERED CONTROLLED OPEN PROGRAM HOME

REGISTERED and CONTROLLED are the data set OPEN under conditions. PROGRAM is `acequia`, which decides as the trustee of the node in HOME.
"""

import base64
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse

import requests

endpoint, registered, controlled, open_name, program, node = sys.argv[1:]
home = tempfile.TemporaryDirectory(prefix="acequia-access-")
os.environ["HF_ENDPOINT"] = endpoint
os.environ["HF_HOME"] = home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ.pop(variable, None)

import datasets  # noqa: E402
import huggingface_hub as hub  # noqa: E402
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError  # noqa: E402

datasets.disable_progress_bars()
steps = 0


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call.__name__} did not raise {kind}")


def trustee(*words):
    done = subprocess.run([program, "--home", node, *words, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def path_of(page):
    return urllib.parse.urlsplit(page.url).path


class Person:
    """A browser that keeps cookies, follows where it is sent, and sends forms from the node's own pages."""

    def __init__(self, name):
        self.name, self.browser = name, requests.Session()

    def start(self, path):
        page = self.browser.get(f"{endpoint}/login?next={path}")
        start = html.unescape(re.search(r'href="(/login/start[^"]*)"', page.text)[1])
        return self.browser.get(endpoint + start)

    def sign_in(self, path):
        page = self.start(path)
        # The pages of the provider: who are you, and may the node know it.
        for _ in range(4):
            if not path_of(page).startswith("/interaction/"):
                break
            form = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page.text))
            form |= {"login": self.name, "password": "any"} if form.get("prompt") == "login" else {}
            to = html.unescape(re.search(r'action="([^"]+)"', page.text)[1])
            page = self.browser.post(urllib.parse.urljoin(page.url, to), data=form)
        assert page.status_code == 200 and page.url == endpoint + path, (page.url, page.text[:500])
        return page

    def get(self, path):
        return self.browser.get(endpoint + path)

    def post(self, path, form):
        return self.browser.post(endpoint + path, data=form, headers={"origin": endpoint})

    def token(self, scopes):
        page = self.post("/account/tokens", {"name": "a laptop", "scopes": scopes, "days": "30"})
        return re.search(r"hf_acequia_[0-9a-f]+", page.text)[0]


def cached(name, token, folder):
    return hub.snapshot_download(name, repo_type="dataset", token=token, local_dir=os.path.join(home.name, folder))


def rows(name, token):
    where = f"{endpoint}/datasets/{name}/resolve/main/data/train-00000-of-00001.parquet"
    return requests.get(where, headers={"authorization": f"Bearer {token}"})


api = hub.HfApi()
for name, tier in ((registered, "auto"), (controlled, "manual")):
    info = api.dataset_info(name)
    assert info.gated == tier, (name, info.gated)
    assert hub.DatasetCard.load(name).data.license, "the card is open"
    raises(GatedRepoError, hub.hf_hub_download, name, "data/train-00000-of-00001.parquet", repo_type="dataset", token=False)
step("who is not signed in reads what describes the rows, and not the rows")

anna = Person("anna")
page = anna.sign_in(f"/datasets/{registered}/access")
assert "checked" not in page.text and page.text.count('type="checkbox"') >= 1
token = anna.token(registered)
raises(GatedRepoError, hub.hf_hub_download, registered, "data/train-00000-of-00001.parquet", repo_type="dataset", token=token)
raises(HfHubHTTPError, api.auth_check, registered, repo_type="dataset", token=token)
step("signing in through a provider of OpenID Connect opens nothing by itself")

version = re.search(r'name="version" value="([^"]+)"', page.text)[1]
terms = re.findall(r'name="term" value="([^"]+)"', page.text)
page = anna.post(f"/datasets/{registered}/access/promise", {"version": version, "term": terms})
assert "You promised on" in page.text, page.text
api.auth_check(registered, repo_type="dataset", token=token)
who = api.whoami(token=token)
assert who["type"] == "user" and "anna" not in json.dumps(who), who
folder = cached(registered, token, "registered")
original = hub.snapshot_download(open_name, repo_type="dataset", local_dir=os.path.join(home.name, "open"))
for split in ("train", "validation", "test"):
    read = [open(os.path.join(place, "data", f"{split}-00000-of-00001.parquet"), "rb").read() for place in (folder, original)]
    assert read[0] == read[1] and read[0][:4] == b"PAR1", split
loaded = datasets.load_dataset(registered, token=token)
assert loaded["train"].num_rows == datasets.load_dataset(open_name)["train"].num_rows
step("who promises reads the rows with huggingface_hub and datasets, the same bytes")

done = subprocess.run(
    [os.path.join(os.path.dirname(sys.executable), "hf"), "download", registered, "--repo-type", "dataset", "--token", token],
    capture_output=True, text=True,
)
assert done.returncode == 0, done.stderr
step("and with `hf download`")

assert rows(controlled, token).status_code == 403, "out of its scope"
wide = anna.token(controlled.split("/")[0] + "/*")
assert (rows(controlled, wide).status_code, rows(registered, wide).status_code) == (403, 200)
page = anna.get(f"/datasets/{controlled}/access")
version = re.search(r'name="version" value="([^"]+)"', page.text)[1]
request = {
    "version": version, "name": "Anna", "contact": "anna@uni.example", "institution": "Example University", "country": "DE",
    "project": "Survival", "statement": "We compare how long people live.", "ethics": "Committee 12/2026",
}
page = anna.post(f"/datasets/{controlled}/access/request", request)
assert "nobody decided yet" in page.text, page.text
listed = trustee("access", "list", "--open")
assert [one["about"] for one in listed] == [f"datasets/{controlled}"], listed
name = listed[0]["request"]
shown = trustee("access", "show", name)
assert shown["words"]["project"] == "Survival" and shown["words"]["affiliation"] == "faculty@uni.example", shown
assert rows(controlled, wide).status_code == 403
trustee("access", "grant", name, "--days", "30", "--by", "bernd")
assert rows(controlled, wide).status_code == 200
assert cached(controlled, wide, "controlled")
step("who asks waits until the trustee grants it, and reads from then on")

passport = requests.get(f"{endpoint}/ga4gh/userinfo", headers={"authorization": f"Bearer {wide}"}).json()
kinds = set()
for visa in passport["ga4gh_passport_v1"]:
    part = visa.split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    kinds.add(told["ga4gh_visa_v1"]["type"])
    assert told["exp"] - told["iat"] <= 3600, told
assert kinds == {"ControlledAccessGrants", "AcceptedTermsAndPolicies"}, kinds
step("the node says so in visas")

berta = Person("berta")
berta.sign_in("/account")
theirs = berta.token(controlled.split("/")[0] + "/*")
assert rows(controlled, theirs).status_code == 403 and rows(registered, theirs).status_code == 403
trustee("access", "revoke", name, "--reason", "the project ended", "--by", "bernd")
assert rows(controlled, wide).status_code == 403, "revoked"
assert rows(registered, wide).status_code == 200, "the promise stands"
assert "the project ended" in anna.get(f"/datasets/{controlled}/access").text
step("what is revoked is closed with the next question, and was nobody else's")

gone = berta.post("/logout", {})
assert gone.status_code == 200 and path_of(berta.get("/account")) == "/login"
there = html.unescape(re.search(r'href="([^"]+)"[^>]*>Sign out there', gone.text)[1])
assert path_of(berta.start("/account")) == "/account", "the provider still knows the browser"
berta.post("/logout", {})
page = berta.browser.get(there)
form = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page.text)) | {"logout": "yes"}
ended = berta.browser.post(html.unescape(re.search(r'action="([^"]+)"', page.text)[1]), data=form)
assert ended.status_code == 200 and path_of(berta.start("/account")).startswith("/interaction/"), "it asks who she is"
step("who signs out here is told where to sign out at the institution, and can")
foreign = anna.browser.post(f"{endpoint}/logout", headers={"origin": "https://evil.example"})
assert foreign.status_code == 403 and path_of(anna.get("/account")) == "/account"
step("signing out is an act of the own page only")
