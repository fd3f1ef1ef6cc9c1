/** Signing in: at the issuer, or with a token that is pasted. */
import { html, useId, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { obstacle, paste, session, signIn } from "../data/session.js";
import { useStore } from "../data/store.js";
import { PageTitle } from "./page-title.js";

export function SignIn() {
  const id = useId();
  const { problem } = useStore(session);
  const [token, setToken] = useState("");
  const why = obstacle();
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    paste(token);
  };
  return html`<div class="sign-in card">
    <${PageTitle} text=${words.signIn.title} />
    <p>${words.signIn.about}</p>
    <div role="alert">${problem && html`<p class="failure">${problem}</p>`}</div>
    ${why
      ? html`<p class="sub">${why}</p>`
      : html`<button type="button" class="primary" onClick=${() => void signIn()}>${words.signIn.button}</button>`}
    <form onSubmit=${submit}>
      <div class="field">
        <label for=${id}>${why ? words.signIn.pasteOnly : words.signIn.paste}</label>
        <textarea id=${id} rows="4" required spellcheck=${false} autocomplete="off" aria-describedby=${`${id}-help`}
          value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)}></textarea>
        <p id=${`${id}-help`} class="sub">${words.signIn.pasteHelp}</p>
      </div>
      <button type="submit">${words.signIn.use}</button>
    </form>
  </div>`;
}
