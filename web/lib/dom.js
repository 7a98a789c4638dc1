// Elements in one call, so that a control's markup reads like markup.

/** An element: `h("button", { class: "plain", onclick: go }, "Go")`. Never a `style`: the page's policy forbids it. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let last = 0;

/** An id that no other element has. */
export const uniqueId = (stem) => `${stem}-${++last}`;

/** Show or hide, in one word. */
export const show = (element, shown) => {
  element.hidden = !shown;
};
