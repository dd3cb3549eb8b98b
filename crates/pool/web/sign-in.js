// Signing in by a personal access token.

import { session } from "./api.js";
import { h, show } from "./dom.js";
import { command } from "./parts.js";

/** Shows the form; tells `done` who has signed in. */
export function signIn(main, message, done) {
  const problem = h("p", { class: "problem", id: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, "Sign in");
  const field = h("input", {
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "current-password",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "problem",
  });
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    field.removeAttribute("aria-invalid");
    if (!field.value.trim()) {
      problem.textContent = "Paste a token first.";
      field.focus();
      return;
    }
    button.disabled = true;
    try {
      const signed = await session.open(field.value);
      field.value = "";
      done(signed);
    } catch (error) {
      problem.textContent =
        error.status === 401
          ? "This token does not count: it is mistyped, has expired, or was revoked. Make another one, see below."
          : error.message;
      field.setAttribute("aria-invalid", "true");
      field.select();
      field.focus();
    } finally {
      button.disabled = false;
    }
  };
  show(
    main,
    h(
      "section",
      { class: "card", key: "sign-in" },
      h("h1", {}, "Sign in"),
      message && h("p", { class: "message", role: "status" }, message),
      h(
        "form",
        { onsubmit: submit, novalidate: true },
        h("label", { for: "token" }, "Personal access token"),
        field,
        problem,
        button,
      ),
      h(
        "details",
        {},
        h("summary", {}, "How do I get a token?"),
        h("p", {}, "Whoever runs this service makes one beside it, and gives it to you:"),
        command("dayfly-pool pat create --data-dir DIR --name NAME --scopes agentpools,build"),
        h("p", {}, "agentpools and build let you look; agentpools_manage and build_execute let you change agents and cancel runs. The token stays with the service's cookie for 12 hours at most, and this page keeps no copy."),
      ),
    ),
  );
  field.focus();
}
