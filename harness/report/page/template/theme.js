// Light and dark: as the system has it, or as the switch says.
"use strict";
const theme = (() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const changed = new Set();
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const kept = (write) => { try { return write(); } catch { return null; } };  // a file may have no storage
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    changed.forEach((tell) => tell());
  };
  const stored = kept(() => localStorage.getItem("theme"));
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept(() => localStorage.setItem("theme", root.dataset.theme));
    show();
  });
  system.addEventListener("change", show);
  show();
  return { isDark, onChange: (tell) => changed.add(tell) };
})();
