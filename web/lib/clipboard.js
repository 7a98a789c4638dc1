// Text to the clipboard.

/** Copy `text`, which `area` shows or will; what to tell the user, `what` being its name. */
export async function copy(text, area, what) {
  try {
    await navigator.clipboard.writeText(text);
    return `${what} is in the clipboard.`;
  } catch {
    // Without permission, or without a secure address: the user copies what is selected.
    area.value = text;
    area.focus();
    area.select();
    return "The browser forbids it; press Ctrl+C (⌘C), it is selected.";
  }
}
