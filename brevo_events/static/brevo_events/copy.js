"use strict";

// A button with data-copies copies the text of the element with that id. Without this script it stays hidden.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  const status = button.parentElement.querySelector("[role=status]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      status.textContent = button.dataset.done;
    } catch {
      // Only pages over https or on localhost may write to the clipboard: select the text, for Ctrl+C.
      getSelection().selectAllChildren(source);
      status.textContent = button.dataset.failed;
    }
  });
}
