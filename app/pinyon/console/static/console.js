// Everything on the pages works without this script. It only saves clicks.
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// The search of another index begins anew: its namespaces, fields and columns are others.
for (const select of document.querySelectorAll("select[data-go]")) {
  select.addEventListener("change", () => location.assign(select.dataset.go + encodeURIComponent(select.value)));
}

// What is wrong with a filter is said while it is typed.
for (const field of document.querySelectorAll("textarea[data-check]")) {
  const told = document.getElementById(field.getAttribute("aria-describedby"));
  const usual = told.textContent;
  let timer, latest = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const turn = ++latest;
      const answer = await fetch(field.dataset.check + encodeURIComponent(field.value)).catch(() => null);
      if (!answer?.ok || turn !== latest) return;
      const { problem } = await answer.json();
      told.textContent = problem ?? usual;
      told.classList.toggle("wrong", problem !== null);
      field.setAttribute("aria-invalid", String(problem !== null));
    }, 250);
  });
}

// The same hit is highlighted in every column. The document listens for all of them: a line of a chart that listened
// for the focus by itself could be reached with the Tab key.
const hits = document.querySelectorAll("[data-hit]");
let lit;
function highlight(element) {
  const number = element?.closest("[data-hit]")?.dataset.hit;
  if (number === lit) return;
  lit = number;
  for (const hit of hits) hit.classList.toggle("lit", hit.dataset.hit === number);
}
if (hits.length > 0) {
  document.addEventListener("mouseover", (event) => highlight(event.target));
  document.addEventListener("focusin", (event) => highlight(event.target));
}

// Requests are copied.
for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// Jobs that run are shown as they go on, until none runs any more.
async function refresh(part) {
  const answer = await fetch(location.href).catch(() => null);
  const text = answer?.ok ? await answer.text() : "";
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
  if (fresh && !part.contains(document.activeElement)) {
    part.replaceWith(fresh);
    part = fresh;
  }
  if ("live" in part.dataset) setTimeout(refresh, 2000, part);
}
for (const part of document.querySelectorAll("[data-live]")) setTimeout(refresh, 2000, part);
