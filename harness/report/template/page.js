// The page's own script: charts and table. What has none of these is left as it stands.
"use strict";
// The charts: each specification fitted to the room, and drawn again where that changes.
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const tip = document.getElementById("tip");
  const NARROW = 560, AXIS = 70;

  // Those side by side stand one below the other where there is no room; each takes the width that there is.
  function widened(view, room, axis) {
    const parts = view.vconcat || view.hconcat;
    if (!parts) return { ...view, width: Math.max(100, room - axis) };
    const { vconcat, hconcat, ...rest } = view;
    if (hconcat && room >= 700) {
      const each = (room - 34 * (hconcat.length - 1)) / hconcat.length;
      return { ...rest, hconcat: hconcat.map((part) => widened(part, each, axis)) };
    }
    return { ...rest, vconcat: parts.map((part) => widened(part, room, axis)) };
  }

  // Legends that say how wide they are do not know of phones.
  function stacked(node, room) {
    if (Array.isArray(node)) return node.map((one) => stacked(one, room));
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([name, value]) => {
      if (name === "datasets" || name === "values") return [name, value];
      if (name !== "legend" || !value) return [name, stacked(value, room)];
      return [name, { ...value, columns: 1, orient: "bottom", titleOrient: "top", direction: "vertical", labelLimit: room - 60 }];
    }));
  }

  function fitted(spec, room, axis) {
    const copy = room < NARROW ? stacked(spec, room) : spec;
    if (copy.vconcat || copy.hconcat) return widened(copy, room, axis);
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

  const drawn = new Map();  // the element -> the room it was drawn for, and its view

  async function draw(element) {
    const room = Math.floor(element.clientWidth);
    if (!room || drawn.get(element)?.room === room) return;
    const spec = specs[element.dataset.spec];
    // Into an element of its own, as Vega gives that another role than this one has.
    const inside = element.firstElementChild || element.appendChild(document.createElement("div"));
    // What stands beside the plots of several is known once they are drawn: where it is wider, they are drawn again.
    for (let axis = AXIS, over = 1, tries = 0; over > 0 && tries < 3; tries += 1) {
      drawn.get(element)?.view?.finalize();
      // Vega's expressions are compiled by `Function`, which the page's policy forbids: they are interpreted instead.
      const view = await vegaEmbed(inside, fitted(spec, room, axis), {
        mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true, tooltip: showTip,
      });
      drawn.set(element, { room, view });
      over = Math.ceil(inside.querySelector("svg").getBoundingClientRect().width - room);
      axis += over;
    }
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
  drawAll();
})();

// The table: sorted by a click on a heading, filtered by text, with the columns that are wanted.
document.querySelectorAll(".ranking").forEach((ranking) => {
  const heads = [...ranking.querySelectorAll("thead th")], body = ranking.querySelector("tbody");
  const rows = [...body.rows], search = ranking.querySelector("input[type=search]");
  const count = ranking.querySelector(".count");
  const valueOf = (row, index) => {
    const cell = row.cells[index];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (text === "" || text === "-" || text === "None") return null;
    const number = Number(text);
    return Number.isNaN(number) ? text : number;
  };
  function compare(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one).localeCompare(String(other), undefined, { numeric: true });
  }
  function sort(index, descending) {
    const sign = descending ? -1 : 1;
    const keyed = rows.map((row, place) => [valueOf(row, index), place, row]);
    keyed.sort(([one, before], [other, after]) => {
      if (one === null || other === null) return (one === null) - (other === null) || before - after;  // nothing goes last
      return sign * compare(one, other) || before - after;
    });
    body.append(...keyed.map(([, , row]) => row));
    heads.forEach((head, at) => head.removeAttribute("aria-sort"));
    heads[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
  }
  heads.forEach((head, index) => head.querySelector(".sort")?.addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    sort(index, now ? now === "ascending" : head.classList.contains("number"));
  }));
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} configs` : `${rows.length} configs`;
  }
  search.addEventListener("input", filter);
  ranking.querySelectorAll(".choose input").forEach((box) => box.addEventListener("change", () => {
    const index = Number(box.value);
    for (const row of [heads[0].parentElement, ...rows]) row.cells[index].hidden = !box.checked;
    filter();  // what is hidden is not searched
  }));
  document.addEventListener("keydown", (event) => {
    const open = ranking.querySelector(".choose[open]");
    if (event.key === "Escape" && open) { open.open = false; open.querySelector("summary").focus(); }
  });
  ranking.querySelector(".tools").hidden = false;
  filter();
});
