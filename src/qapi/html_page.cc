#include "qapi/html_page.h"

namespace firn::qapi::html {

namespace {

constexpr std::string_view kStyle = R"css(
:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f5f6f8; --text: #1c2128; --dim: #5a6472; --line: #d9dde3;
  --accent: #0b5fa5; --code: #f0f2f5; --mark: #fff3c4;
  --command: #0b5fa5; --event: #8a4b00; --type: #2c6e3f;
  --warn: #8f2d17; --warn-ground: #fdeee9; --note-ground: #eef4fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --panel: #1b2027; --text: #dfe4ea; --dim: #9aa5b1; --line: #323a44;
    --accent: #7cb8f2; --code: #222932; --mark: #4d4320;
    --command: #7cb8f2; --event: #e6a860; --type: #84cf9a;
    --warn: #f29c86; --warn-ground: #35201b; --note-ground: #1c2733;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
a:focus-visible, input:focus-visible, summary:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--ground); padding: .5rem 1rem; z-index: 2; }
.frame { display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
.side {
  position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1rem;
  background: var(--panel); border-right: 1px solid var(--line); font-size: .9rem;
}
.side .name { font-weight: 650; font-size: 1.05rem; margin: 0 0 .75rem; }
.side ul { list-style: none; margin: 0; padding-left: .75rem; }
.side nav > ul { padding-left: 0; }
.side a { color: inherit; text-decoration: none; overflow-wrap: anywhere; }
.side a:hover { color: var(--accent); text-decoration: underline; }
.side li { margin: .15rem 0; }
.side summary { cursor: pointer; font-weight: 600; }
.side nav > ul > li > a { font-weight: 600; margin-left: 1rem; }
.side code { background: none; padding: 0; font-size: .95em; }
.find label { display: block; font-weight: 600; margin-bottom: .25rem; }
.find input {
  width: 100%; padding: .45rem .6rem; font: inherit; color: inherit;
  background: var(--ground); border: 1px solid var(--line); border-radius: 6px;
}
.find output { display: block; min-height: 1.4em; margin: .25rem 0 .5rem; color: var(--dim); }
main { padding: 1.5rem clamp(1rem, 4vw, 3.5rem) 6rem; max-width: 62rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.6rem; margin: 3rem 0 1rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3, h4, h5, h6 { line-height: 1.3; margin: 2rem 0 .75rem; }
h3 { font-size: 1.3rem; }
h4, h5, h6 { font-size: 1.1rem; }
.entry {
  margin: 1.75rem 0; padding: 1rem 1.25rem 1.1rem; border: 1px solid var(--line);
  border-left: 4px solid var(--type); border-radius: 6px;
}
.entry.command { border-left-color: var(--command); }
.entry.event { border-left-color: var(--event); }
.entry:target { box-shadow: 0 0 0 2px var(--accent); }
.entry > h2, .entry > h3, .entry > h4, .entry > h5, .entry > h6 {
  margin: 0 0 .5rem; padding: 0; border: 0; font-size: 1.15rem; overflow-wrap: anywhere;
}
.entry h2 code, .entry h3 code, .entry h4 code, .entry h5 code, .entry h6 code {
  background: none; padding: 0;
}
.kind {
  font-size: .72rem; font-weight: 600; text-transform: uppercase; letter-spacing: .05em;
  color: var(--type); margin-right: .35rem;
}
.command .kind { color: var(--command); }
.event .kind { color: var(--event); }
.self { color: var(--dim); text-decoration: none; font-weight: 400; opacity: 0; margin-left: .3rem; }
.entry:hover .self, h2:hover .self, h3:hover .self, .self:focus { opacity: 1; }
.tag {
  display: inline-block; font-size: .75rem; font-weight: 600; line-height: 1.5; padding: 0 .5em;
  border: 1px solid var(--line); border-radius: 1em; color: var(--dim); vertical-align: 10%;
}
.tag.deprecated, .tag.unstable { color: var(--warn); background: var(--warn-ground); border-color: currentColor; }
.part { font-weight: 650; margin: 1rem 0 .3rem; }
dl { margin: .3rem 0 .6rem; }
dt { margin-top: .45rem; overflow-wrap: anywhere; }
dt:target, li:target { background: var(--mark); }
dd { margin: 0 0 .3rem 1.5rem; }
p { margin: .5rem 0; }
dd > p:first-child, li > p:first-child { margin-top: .1rem; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: .88em; }
code { background: var(--code); padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
dt > code:first-child { font-weight: 650; }
pre {
  background: var(--code); padding: .75rem 1rem; border-radius: 6px; overflow-x: auto; line-height: 1.45;
}
pre code { background: none; padding: 0; font-size: 1em; overflow-wrap: normal; }
.sent { color: var(--command); }
.got { color: var(--type); }
figure { margin: .8rem 0; }
figcaption { font-size: .9rem; color: var(--dim); }
figure pre { margin: .3rem 0 0; }
.note {
  margin: .8rem 0; padding: .5rem .9rem; border-left: 4px solid var(--accent);
  background: var(--note-ground); border-radius: 0 6px 6px 0;
}
.note.warning, .note.caution, .note.danger, .note.attention, .note.error, .note.important, .note.deprecated {
  border-left-color: var(--warn); background: var(--warn-ground);
}
.note > .title { font-weight: 650; margin: 0 0 .2rem; }
.uses, .remark { font-size: .92rem; color: var(--dim); }
blockquote { margin: .5rem 0 .5rem 1.5rem; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; }
[hidden] { display: none !important; }
@media (max-width: 55rem) {
  .frame { display: block; }
  .side { position: static; height: auto; max-height: 50vh; border-right: 0; border-bottom: 1px solid var(--line); }
}
@media print {
  :root { --ground: #fff; --text: #000; --code: #f4f4f4; --line: #bbb; --dim: #333; --accent: #000; }
  .side, .skip, .self { display: none; }
  .frame { display: block; }
  main { max-width: none; padding: 0; }
  .entry { border-width: 0 0 0 3px; padding: 0 0 0 .8rem; }
  h2, h3, h4, h5, h6, .part, dt { break-after: avoid; }
  pre, tr, .note { break-inside: avoid; }
  pre { white-space: pre-wrap; }
}
)css";

// Filters as one types: the list at the side by name, the page itself by all its words.
constexpr std::string_view kScript = R"js(
(() => {
  const find = document.querySelector('.find');
  const input = find.querySelector('input');
  const count = find.querySelector('output');
  const nav = document.querySelector('nav');
  const entries = [...document.querySelectorAll('.entry')];
  const links = new Map([...nav.querySelectorAll('a')].map((a) => [a.hash.slice(1), a]));
  const folds = [...nav.querySelectorAll('details')];
  const open = folds.map((fold) => fold.open);
  const others = [...document.querySelectorAll('main > :not(.entry):not(h1)')];
  const plain = [...nav.querySelectorAll('li > a:not([data-entry])')].map((a) => a.parentElement);
  let texts = null;
  find.hidden = false;

  function apply() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = words.length === 0;
    texts ??= entries.map((e) => e.textContent.toLowerCase());
    let shown = 0;
    entries.forEach((entry, i) => {
      const name = entry.dataset.name.toLowerCase();
      const fits = all || words.every((w) => name.includes(w) || (w.length > 2 && texts[i].includes(w)));
      entry.hidden = !fits;
      const link = links.get(entry.id);
      if (link) link.parentElement.hidden = !fits;
      shown += fits;
    });
    for (const other of others) other.hidden = !all;
    for (const item of plain) item.hidden = !all;
    folds.forEach((fold, i) => {
      const left = fold.querySelector('li:not([hidden]) > a[data-entry]');
      fold.parentElement.hidden = !all && !left;
      fold.open = all ? open[i] : !!left;
    });
    count.textContent = all ? '' : shown + (shown === 1 ? ' definition' : ' definitions');
  }

  input.addEventListener('input', apply);
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') { input.value = ''; apply(); }
    if (event.key !== 'Enter') return;
    const words = input.value.trim().toLowerCase();
    const best = entries.find((e) => e.dataset.name.toLowerCase() === words) ||
      entries.find((e) => !e.hidden);
    if (best) location.hash = best.id;
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === '/' && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      input.focus();
    }
  });
  // A link may lead to what the filter hides.
  addEventListener('hashchange', () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.closest('[hidden]')) { input.value = ''; apply(); target.scrollIntoView(); }
  });
})();
)js";

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string print(const Page& page) {
  const std::string title = escape(page.title);
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += "<title>" + title + "</title>\n<style>";
  out += kStyle;
  out += "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to the content</a>\n";
  out += "<div class=\"frame\">\n<div class=\"side\">\n<p class=\"name\">" + title + "</p>\n";
  out +=
      "<div class=\"find\" role=\"search\" hidden>\n<label for=\"find\">Search</label>\n"
      "<input id=\"find\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" "
      "placeholder=\"name or word ( / )\">\n"
      "<output for=\"find\" aria-live=\"polite\"></output>\n</div>\n";
  out += "<nav aria-label=\"Contents\">\n";
  out += page.contents;
  out += "</nav>\n</div>\n<main id=\"content\">\n<h1>" + title + "</h1>\n";
  out += page.body;
  out += "</main>\n</div>\n<script>";
  out += kScript;
  out += "</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace firn::qapi::html
