// What every setting has around its control: a label, its help, and the way back to the default.
import { h, show, uniqueId } from "../lib/dom.js";
import { LABELS } from "../lib/presentation.js";
import { words } from "../lib/text.js";

/** What a setting is called on the page. */
export const labelOf = (field) => LABELS[field.name] ?? words(field.name);

/** Tell whoever holds the form of a new value. */
export function tell(container, name, value) {
  container.dispatchEvent(new CustomEvent("setting", { bubbles: true, detail: { name, value } }));
}

/** A default as people would say it. */
function defaultWords(field) {
  if (field.kind === "switch") return field.default === "true" ? "on" : "off";
  return field.default === "" ? "nothing" : field.default.length > 24 ? "its default" : field.default;
}

/**
 * Build the frame in `container`: `{ head, body, labelId, helpId, message }`. `group` makes the label a caption of several
 * controls; `open` shows the help at once instead of behind a button.
 */
export function frame(container, field, { controlId, group = false, open = false }) {
  const [labelId, helpId, problemId] = ["label", "help", "problem"].map((part) => uniqueId(`${field.name}-${part}`));
  const label = group
    ? h("span", { id: labelId, class: "label" }, labelOf(field))
    : h("label", { id: labelId, class: "label", for: controlId }, labelOf(field));
  const help = h("p", { id: helpId, class: "help", hidden: !open }, field.help);
  const problem = h("p", { id: problemId, class: "problem", role: "alert", hidden: true });
  const reset = h(
    "button",
    { type: "button", class: "reset", hidden: true, onclick: () => tell(container, field.name, null) },
    "Reset",
  );
  reset.setAttribute("aria-label", `Reset ${labelOf(field)} to ${defaultWords(field)}`);
  reset.title = `Back to ${defaultWords(field)}`;
  const more = open
    ? null
    : h(
        "button",
        {
          type: "button",
          class: "why",
          "aria-expanded": "false",
          "aria-controls": helpId,
          "aria-label": `About ${labelOf(field)}`,
        },
        "?",
      );
  more?.addEventListener("click", () => {
    show(help, help.hidden);
    more.setAttribute("aria-expanded", String(!help.hidden));
  });
  const head = h("div", { class: "field-head" }, label, more, h("span", { class: "gap" }), reset);
  const body = h("div", { class: "field-body" });
  container.classList.add("field");
  container.dataset.name = field.name;
  container.append(head, body, problem, help);
  return {
    head,
    body,
    labelId,
    helpId,
    /** Whether the value differs from the default. */
    setChanged: (changed) => show(reset, changed),
    /** Say what is wrong with what was typed, or with `null` that nothing is. */
    setProblem: (text) => {
      problem.textContent = text ?? "";
      show(problem, Boolean(text));
    },
  };
}
