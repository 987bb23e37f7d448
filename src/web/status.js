// Fetches the body of the page each second and exchanges only the sections that changed.
const main = document.querySelector("main");
const lost = document.getElementById("lost");
const template = document.createElement("template");

async function renew() {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 5000);
  try {
    const answer = await fetch("fragment", { cache: "no-store", signal: stop.signal });
    if (!answer.ok) throw new Error(answer.status);
    template.innerHTML = await answer.text();
    for (const section of template.content.querySelectorAll("section")) {
      const shown = document.getElementById(section.id);
      if (shown && shown.innerHTML !== section.innerHTML) shown.replaceChildren(...section.childNodes);
    }
    lost.hidden = true;
    main.removeAttribute("aria-busy");
  } catch {
    lost.hidden = false;
    main.setAttribute("aria-busy", "true");
  } finally {
    clearTimeout(timer);
    setTimeout(renew, 1000);
  }
}
renew();
