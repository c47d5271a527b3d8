// The login page: fills in the XSRF token, and says when the token was not accepted.

import { xsrf } from "./api.ts";

const form = document.querySelector("form")!;
const field = form.elements.namedItem("_xsrf") as HTMLInputElement;
const error = document.getElementById("error")!;

function say(text: string): void {
  error.textContent = text;
  error.hidden = false;
}

if (new URLSearchParams(window.location.search).has("error")) {
  say("This token was not accepted. It may be mistyped, expired or revoked.");
}
form.addEventListener("submit", (event) => {
  field.value = xsrf(document.cookie);
  if (field.value) return;
  event.preventDefault();
  say("Signing in needs cookies. Allow them for this address and load the page again.");
});
