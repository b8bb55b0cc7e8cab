// Tables sort by a press on a heading, or where there are no headings by a list above the table. Without this script
// they stay as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 2) continue;
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return text === "" || text === "–" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  };
  const order = (a, b) => {
    if (a === null || b === null) return 0;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (column, down) => {
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || (down ? order(b, a) : order(a, b)));
    body.append(...rows.map(([, row]) => row));
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  const given = [...body.rows];
  const names = heads.map((head) => head.textContent);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = names[column];
    button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
    head.replaceChildren(button);
  });
  if (table.classList.contains("cards")) {
    const line = document.createElement("p");
    const label = document.createElement("label");
    const list = document.createElement("select");
    const turn = document.createElement("button");
    list.append(new Option("as given", -1), ...names.map((name, column) => new Option(name, column)));
    list.addEventListener("change", () => {
      if (Number(list.value) < 0) body.append(...given);
      else sort(Number(list.value), false);
    });
    turn.type = "button";
    turn.textContent = "reverse";
    turn.addEventListener("click", () => body.append(...[...body.rows].reverse()));
    line.className = "sorter";
    label.append("Order ", list);
    line.append(label, turn);
    table.parentElement.before(line);
  }
}
