// Comfort only: everything here also works without.
"use strict";
for (const form of document.querySelectorAll("form[data-controlla]")) {
  const where = form.dataset.controlla;
  for (const input of form.querySelectorAll("input[id][aria-describedby]")) {
    let waiting;
    const check = async () => {
      const query = new URLSearchParams({ campo: input.name, valore: input.value });
      try {
        const answer = await fetch(`${where}?${query}`, { redirect: "error" });
        if (!answer.ok) return;
        const fault = await answer.text();
        document.getElementById(input.getAttribute("aria-describedby")).textContent = fault;
        input.closest(".field").classList.toggle("wrong", fault !== "");
        input.setAttribute("aria-invalid", String(fault !== ""));
      } catch { /* the server checks when the form is sent */ }
    };
    input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(check, 350); });
  }
}
const list = document.querySelector("[data-eventi]");
if (list) {
  const events = new EventSource(list.dataset.eventi);
  events.addEventListener("cambiato", async () => {
    try {
      const answer = await fetch(location.href, { redirect: "error" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-eventi]");
      if (fresh) {
        const known = new Set([...list.querySelectorAll("tr[id]")].map((row) => row.id));
        list.replaceChildren(...fresh.childNodes);
        for (const row of list.querySelectorAll("tr[id]")) row.classList.toggle("new", !known.has(row.id));
      }
    } catch { /* the next change, or a reload, shows it */ }
  });
}
