"use strict";
// Tables sort by the column whose head is tapped; cells without a figure come last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
        return cell.classList.contains("none") || cell.textContent === "" ? null : cell.textContent;
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row, i) => ({ row, i, k: key(row) }));
      rows.sort((a, b) => {
        if (a.k === null || b.k === null) return (a.k === null) - (b.k === null) || a.i - b.i;
        const order = typeof a.k === "number" && typeof b.k === "number" ? a.k - b.k : String(a.k).localeCompare(String(b.k));
        return (down ? -order : order) || a.i - b.i;
      });
      body.append(...rows.map((r) => r.row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(); }
    });
  });
}
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.classList.contains("dark") ||
    (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
  root.classList.toggle("dark", !dark);
  root.classList.toggle("light", dark);
});
