// What is wider than the window is scrolled by the keyboard, too: the theme allows that
// for programs alone, and only where there is a mouse. Tables get their frames late.
const seen = new WeakSet();
const resized = new ResizeObserver((entries) => entries.forEach((e) => reachable(e.target)));
const changed = new MutationObserver((changes) => changes.forEach((c) => reachable(c.target)));

function reachable(e) {
  if (e.scrollWidth > e.clientWidth && !e.hasAttribute("tabindex")) e.tabIndex = 0;
}

function look() {
  for (const e of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
    if (seen.has(e)) continue;
    seen.add(e);
    changed.observe(e, { attributeFilter: ["tabindex"] });
    resized.observe(e);
  }
}

look();
new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
