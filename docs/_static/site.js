// What the theme leaves out: a button that copies a block of code, scrolling by keyboard, and roles for screen readers.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) caption.setAttribute("aria-level", "2");
  for (const list of document.querySelectorAll("dt.sig dl")) {  // the parameters of a long signature, one a line
    list.setAttribute("role", "list");
    for (const item of list.children) item.setAttribute("role", "listitem");
  }
  for (const block of document.querySelectorAll("div.highlight > pre")) {
    if (navigator.clipboard) block.parentElement.append(copyButton(block));
  }
  reachWhatScrolls();
  addEventListener("resize", reachWhatScrolls);
});

// Whoever has no mouse moves to a wide table or block by Tab, and along it by the arrow keys.
function reachWhatScrolls() {
  for (const box of document.querySelectorAll("div.highlight > pre, div.table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// Prompts and output of a console are left out of what is copied.
function copyButton(block) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "copy";
  button.setAttribute("aria-label", "copy this block");
  button.addEventListener("click", async () => {
    const lines = block.textContent.trimEnd().split("\n");
    const commands = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
    await navigator.clipboard.writeText((commands.length ? commands : lines).join("\n"));
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  return button;
}
