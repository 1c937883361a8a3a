// A program that is wider than the window is scrolled by the keyboard, too: the theme
// allows that only where there is a mouse.
for (const code of document.querySelectorAll("pre > code")) {
  const reachable = () => {
    if (code.scrollWidth > code.clientWidth && !code.hasAttribute("tabindex")) code.tabIndex = 0;
  };
  new MutationObserver(reachable).observe(code, { attributeFilter: ["tabindex"] });
  new ResizeObserver(reachable).observe(code);
}
