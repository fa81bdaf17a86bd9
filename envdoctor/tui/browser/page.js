// The keys belong to the terminal as soon as it shows something, and to the link once it has ended.
new MutationObserver(() => {
  const ended = document.body.classList.contains("-closed");
  const wanted = document.querySelector(ended ? ".ended a" : ".xterm-helper-textarea");
  if (wanted && document.body.classList.contains("-first-byte")) {
    wanted.focus();
  }
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["class"] });
