// The charts: each specification fitted to the room and the theme, and drawn again where either changes.
"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const colours = JSON.parse(document.getElementById("colours").textContent);
  const tip = document.getElementById("tip");
  const NARROW = 560, AXIS = 76;
  const OF_COLOUR = /color|fill|stroke|range|background/i;

  function recoloured(node, map, key) {
    if (typeof node === "string") return (OF_COLOUR.test(key) && map[node.toLowerCase()]) || node;
    if (Array.isArray(node)) return node.map((one) => recoloured(one, map, key));
    if (node === null || typeof node !== "object") return node;
    const copy = {};
    for (const [name, value] of Object.entries(node)) {
      const same = name === "datasets" || name === "values" || name === "domain";
      copy[name] = same ? value : recoloured(value, map, name === "value" || name === "condition" ? key : name);
    }
    return copy;
  }

  // Those side by side stand one below the other where there is no room; each takes the width that there is.
  function widened(view, room) {
    const parts = view.vconcat || view.hconcat;
    if (!parts) return { ...view, width: room - AXIS };
    const { vconcat, hconcat, ...rest } = view;
    if (hconcat && room >= 700) {
      return { ...rest, hconcat: hconcat.map((part) => widened(part, (room - 34 * (hconcat.length - 1)) / hconcat.length)) };
    }
    return { ...rest, vconcat: parts.map((part) => widened(part, room)) };
  }

  // Legends that say how wide they are do not know of phones.
  function stacked(node, room) {
    if (Array.isArray(node)) return node.map((one) => stacked(one, room));
    if (node === null || typeof node !== "object") return node;
    const copy = {};
    for (const [name, value] of Object.entries(node)) {
      if (name === "datasets" || name === "values") copy[name] = value;
      else if (name === "legend" && value) copy[name] = { ...value, columns: 1, titleOrient: "top", direction: "vertical", labelLimit: room - 60 };
      else copy[name] = stacked(value, room);
    }
    return copy;
  }

  function fitted(spec, room, map) {
    const narrow = room < NARROW;
    const copy = narrow ? stacked(recoloured(spec, map, ""), room) : recoloured(spec, map, "");
    const legend = { ...copy.config.legend };
    if (narrow || copy.vconcat) {
      Object.assign(legend, { orient: "bottom", columns: Math.max(1, Math.floor(room / 230)), labelLimit: Math.min(260, room - 60) });
    }
    copy.config = { ...copy.config, ...map.config, legend: { ...legend, ...map.config.legend } };
    if (copy.vconcat || copy.hconcat) return widened(copy, room);
    return { ...copy, width: room, autosize: { type: "fit-x", contains: "padding" } };
  }

  function showTip(handler, event, item, value) {
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
    tip.replaceChildren(...lines.filter(([, text]) => text !== "" && text !== null).map(([name, text], index) => {
      const line = document.createElement("div");
      line.textContent = index === 0 || !name ? String(text) : `${name}: ${text}`;
      return line;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }

  const drawn = new Map();  // the element -> what is in it

  async function draw(element) {
    const room = Math.floor(element.clientWidth);
    if (!room) return;
    const figure = element.closest("figure");
    const chosen = figure.querySelector(".views input:checked");
    const keys = JSON.parse(room < NARROW ? element.dataset.narrow : element.dataset.wide);
    const key = keys[chosen ? Number(chosen.value) : 0], dark = theme.isDark();
    const state = `${key} ${room} ${dark}`, before = drawn.get(element);
    if (before && before.state === state) return;
    drawn.set(element, { ...before, state });
    const spec = fitted(specs[key], room, dark ? colours.dark : colours.light);
    // Vega's own expressions are compiled by `Function`, which the page's policy forbids: they are interpreted instead.
    // Into an element of its own, as Vega gives that another role than this one has.
    const inside = element.firstElementChild || element.appendChild(document.createElement("div"));
    const made = await vegaEmbed(inside, spec, {
      mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true, tooltip: showTip,
    });
    if (before && before.view) before.view.finalize();
    const now = drawn.get(element);
    drawn.set(element, { state: now.state, view: made });
    element.dataset.drawn = dark ? "dark" : "light";
    if (now.state !== state) { drawn.set(element, { state: "", view: made }); await draw(element); }
  }

  const elements = [...document.querySelectorAll(".chart")];
  let round = 0;
  async function drawAll() {
    const mine = ++round;
    document.documentElement.dataset.charts = "drawing";
    for (const element of elements) {
      if (mine !== round) return;
      try { await draw(element); } catch (error) {
        element.textContent = "This chart could not be drawn; the files below and the table have it.";
        console.error(error);
      }
      await new Promise((resume) => setTimeout(resume));  // the page stays usable
    }
    document.documentElement.dataset.charts = "drawn";
  }

  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 200); });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  document.querySelectorAll(".views input").forEach((input) => input.addEventListener("change", drawAll));
  theme.onChange(drawAll);

  // Paper is white. It is printed before anything could be drawn again, so the colours are exchanged where they are.
  const back = Object.fromEntries(Object.entries(colours.dark).filter(([, to]) => typeof to === "string")
    .map(([from, to]) => [to, colours.light[from] || from]));
  const exchanged = [];
  addEventListener("beforeprint", () => {
    if (!theme.isDark()) return;
    for (const mark of document.querySelectorAll(".chart svg [fill], .chart svg [stroke]")) {
      for (const name of ["fill", "stroke"]) {
        const now = mark.getAttribute(name);
        if (now && back[now]) { exchanged.push([mark, name, now]); mark.setAttribute(name, back[now]); }
      }
    }
  });
  addEventListener("afterprint", () => {
    for (const [mark, name, was] of exchanged.splice(0)) mark.setAttribute(name, was);
  });
  drawAll();
})();
