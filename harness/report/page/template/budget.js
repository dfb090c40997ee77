// What to take for a budget: that of the longest known budget that is no longer.
"use strict";
document.querySelectorAll(".budgets").forEach((box) => {
  const offers = JSON.parse(box.querySelector("script").textContent);
  const form = box.querySelector("form"), amount = form.querySelector("input"), unit = form.querySelector("select");
  const output = form.querySelector("output");
  const units = [3600, 60, 1];
  function answer() {
    const seconds = Number(amount.value) * Number(unit.value);
    const fitting = offers.filter((offer) => offer.seconds <= seconds * (1 + 1e-9));
    const taken = fitting[fitting.length - 1];
    const text = amount.value === "" || !(seconds > 0) ? "Enter a time above zero."
      : taken ? taken.sentence : "Nothing has been evaluated in so short a time.";
    const note = taken && Math.abs(taken.seconds - seconds) > 1e-9 && !taken.budget.endsWith("more") ? ` (As of ${taken.budget}.)` : "";
    output.replaceChildren(...`${text}${note}`.split(/(“[^”]*”)/).map((part) => {
      if (!part.startsWith("“")) return part;
      const name = document.createElement("b");
      name.textContent = part.slice(1, -1);
      return name;
    }));
  }
  const listed = offers.filter((offer) => offer.listed);
  const last = offers[offers.length - 1];
  const first = 300 >= offers[0].seconds && 300 <= last.seconds ? 300 : listed[Math.floor((listed.length - 1) / 2)].seconds;
  const size = units.find((one) => first >= one) || 1;
  amount.value = String(Number((first / size).toPrecision(4)));
  unit.value = String(size);
  amount.addEventListener("input", answer);
  unit.addEventListener("change", answer);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  answer();
});
