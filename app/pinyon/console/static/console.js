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

// The same hit is highlighted in every column.
for (const hit of document.querySelectorAll("[data-hit]")) {
  const same = document.querySelectorAll(`[data-hit="${hit.dataset.hit}"]`);
  for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
    hit.addEventListener(event, () => same.forEach((each) => each.classList.toggle("lit", on)));
  }
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
