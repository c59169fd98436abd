const form = document.getElementById("form");
const field = document.getElementById("url");
const button = document.getElementById("shorten");
const error = document.getElementById("error");
const result = document.getElementById("result");
const list = document.getElementById("links");
const empty = document.getElementById("empty");

class Refusal extends Error {}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

async function ask(options) {
  let response;
  try {
    response = await fetch("/api/links", options);
  } catch {
    throw new Error("The server can't be reached. Try again in a moment.");
  }
  const type = response.headers.get("Content-Type") ?? "";
  const answer = type.startsWith("application/json") ? await response.json() : {};
  if (response.status >= 500) {
    throw new Error(`The server failed with status ${response.status}. Try again in a moment.`);
  }
  if (!response.ok) {
    const reason = answer.error?.replace(/^url: /, "The address ");
    throw new Refusal(reason ?? `The server refused it with status ${response.status}.`);
  }
  return answer;
}

function row(link) {
  const item = element("li", {});
  const target = element("span", { className: "target", textContent: link.url, title: link.url });
  item.append(element("a", { href: link.short_url, textContent: link.code }), target);
  if (link.hits !== null) {
    const hits = link.hits === 1 ? "1 visit" : `${link.hits} visits`;
    item.append(element("span", { className: "hits", textContent: hits }));
  }
  return item;
}

async function showNewest() {
  const links = await ask();
  list.replaceChildren(...links.map(row));
  empty.hidden = links.length > 0;
}

function showResult(link) {
  const anchor = element("a", { href: link.short_url, textContent: link.short_url });
  result.replaceChildren(anchor);
  // Browsers have the clipboard only where the page came over https or from this machine.
  if (navigator.clipboard) {
    const copy = element("button", { type: "button", textContent: "Copy" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(link.short_url);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Not allowed";
      }
    });
    result.append(copy);
  }
}

function fail(reason) {
  error.textContent = reason.message;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.textContent = "";
  field.removeAttribute("aria-invalid");
  result.replaceChildren();
  button.disabled = true;
  try {
    const link = await ask({
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ url: field.value }),
    });
    showResult(link);
    form.reset();
    await showNewest();
  } catch (reason) {
    if (reason instanceof Refusal) {
      field.setAttribute("aria-invalid", "true");
    }
    fail(reason);
  } finally {
    button.disabled = false;
  }
});

showNewest().catch(fail);
