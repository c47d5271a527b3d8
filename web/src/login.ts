// The login page: fills in the XSRF token, and says when the token was not accepted.

import { xsrf } from "./api.ts";

/** The gateway's reasons that have nothing to do with the token itself. */
const REASONS = new Map([
  ["throttled", "Too many failed attempts from this address. Wait a minute and try again."],
  ["xsrf", "This page was out of date. Try again."],
  ["origin", "The page was opened under another address than the gateway knows. Use the gateway's own address."],
  ["account", "This account cannot own kernels. Ask your administrator."],
]);

const form = document.querySelector("form")!;
const field = form.elements.namedItem("_xsrf") as HTMLInputElement;
const error = document.getElementById("error")!;

function say(text: string): void {
  error.textContent = text;
  error.hidden = false;
}

const refused = new URLSearchParams(window.location.search).get("error");
if (refused !== null) say(REASONS.get(refused) ?? "This token was not accepted. It may be mistyped, expired or revoked.");
form.addEventListener("submit", (event) => {
  field.value = xsrf(document.cookie);
  if (field.value) return;
  event.preventDefault();
  say("Signing in needs cookies. Allow them for this address and load the page again.");
});
