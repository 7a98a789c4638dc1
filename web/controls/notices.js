// What went wrong, what to do about it, and what the engine warns of.
import { h } from "../lib/dom.js";

export class Notices {
  #container;

  constructor(container) {
    this.#container = container;
  }

  clear() {
    this.#container.replaceChildren();
  }

  /** An error, with what to do; `action` is `[text, function]` of a button. */
  error(message, advice, action) {
    this.#add("error", "alert", "That did not work", message, advice, action);
  }

  /** Something the user should know. The same again says nothing new. */
  warning(message) {
    const said = [...this.#container.querySelectorAll(".warning .message")];
    if (!said.some((element) => element.textContent === message))
      this.#add("warning", "status", "Please note", message);
  }

  /** Something that went as the user wished, or that can be had by `action`. */
  info(message, action) {
    this.#add("info", "status", "", message, "", action);
  }

  /** The same again takes the place of the first. */
  #add(kind, role, title, message, advice, action) {
    for (const old of this.#container.querySelectorAll(`.${kind}`)) {
      if (old.querySelector(".message").textContent === message) old.remove();
    }
    const close = h("button", { type: "button", class: "close", "aria-label": "Dismiss" }, "×");
    const notice = h(
      "div",
      { class: `notice ${kind}`, role },
      h(
        "div",
        {},
        title && h("strong", {}, title),
        h("p", { class: "message" }, message),
        advice && h("p", { class: "advice" }, advice),
        action && h("button", { type: "button", class: "plain", onclick: action[1] }, action[0]),
      ),
      close,
    );
    close.addEventListener("click", () => notice.remove());
    this.#container.append(notice);
    notice.scrollIntoView({ block: "nearest" });
  }
}
