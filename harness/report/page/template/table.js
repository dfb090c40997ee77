// The table: sorted by a click on a heading, filtered by text, with the columns that are wanted.
"use strict";
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
