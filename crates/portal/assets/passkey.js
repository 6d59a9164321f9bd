// Passkeys need a script: the browser talks to the authenticator only through one. Everything else on these pages works
// without. It asks this node for a challenge, hands it to the authenticator, and brings the answer back.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body ?? {}),
    credentials: "same-origin",
    redirect: "error",
  });
  const told = await answer.json();
  // First to show once more who is there, and then back here.
  if (!answer.ok && told.next) {
    location.assign(told.next);
    return new Promise(() => {});
  }
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

async function create(options) {
  const key = options.publicKey;
  key.challenge = bytes(key.challenge);
  key.user.id = bytes(key.user.id);
  key.excludeCredentials = (key.excludeCredentials ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
  const made = await navigator.credentials.create({ publicKey: key });
  return {
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    response: {
      attestationObject: text(made.response.attestationObject),
      clientDataJSON: text(made.response.clientDataJSON),
      transports: made.response.getTransports ? made.response.getTransports() : [],
    },
    extensions: {},
  };
}

async function get(options) {
  const key = options.publicKey;
  key.challenge = bytes(key.challenge);
  key.allowCredentials = (key.allowCredentials ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
  const found = await navigator.credentials.get({ publicKey: key });
  return {
    id: found.id,
    rawId: text(found.rawId),
    type: found.type,
    response: {
      authenticatorData: text(found.response.authenticatorData),
      clientDataJSON: text(found.response.clientDataJSON),
      signature: text(found.response.signature),
      userHandle: found.response.userHandle ? text(found.response.userHandle) : null,
    },
    extensions: {},
  };
}

for (const button of document.querySelectorAll("button[data-ceremony]")) {
  const said = document.getElementById(button.getAttribute("aria-describedby"));
  if (!window.PublicKeyCredential) {
    said.textContent = button.dataset.none;
    continue;
  }
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = button.dataset.wait;
    try {
      const base = button.dataset.ceremony;
      const { ceremony, options } = await ask(`${base}/start`);
      const credential = await (button.dataset.kind === "create" ? create(options) : get(options));
      const { next } = await ask(`${base}/finish`, { ceremony, credential, next: button.dataset.next });
      location.assign(next);
    } catch (error) {
      // The browser's own words for "no" name no reason, on purpose; ours do.
      said.textContent = error instanceof DOMException ? button.dataset.failed : error.message || button.dataset.failed;
      button.disabled = false;
      said.focus();
    }
  });
}
