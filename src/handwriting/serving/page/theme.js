// Before the first paint, so that a dark page never flashes white. Without a choice it follows the system.
const system = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
};
applyTheme();
system.addEventListener("change", applyTheme);
