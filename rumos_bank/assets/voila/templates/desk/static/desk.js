// What ipywidgets cannot do: roles and names for screen readers, a sign of life, limits of an upload, copying.
(() => {
  "use strict";
  const address = new URL(location.href); // a token in it is not needed any more: no history keeps it
  if (address.searchParams.has("token")) { address.searchParams.delete("token"); history.replaceState(history.state, "", address); }
  const TEXTS = {
    en: {
      dead: "This session has ended. Your entries are still on the screen, but they get no answer any more.",
      lost: "The connection is lost; trying again …",
      silent: "The desk does not answer. Your entries are still on the screen, but they get no answer at the moment.",
      reload: "Reload the page",
      language: "Language", pages: "Pages", search: "Search", rows: "Rows per page",
    },
    pt: {
      dead: "Esta sessão terminou. O que escreveu continua no ecrã, mas já não terá resposta.",
      lost: "Perdeu-se a ligação; a tentar de novo …",
      silent: "O balcão não responde. O que escreveu continua no ecrã, mas de momento não tem resposta.",
      reload: "Recarregar a página",
      language: "Idioma", pages: "Páginas", search: "Procurar", rows: "Linhas por página",
    },
  };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const language = () => document.querySelector("[data-lang]")?.dataset.lang || "en";
  const translate = (key) => TEXTS[language()][key];
  const give = (element, names) => {
    for (const [name, value] of Object.entries(names))
      if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
  };

  // A dead kernel or a lost connection: a banner, because the page itself does not change.
  let gone = "";
  const announce = (key) => {
    gone = key;
    const banner = document.getElementById("lost");
    banner.hidden = !key;
    banner.querySelector("span").textContent = key ? translate(key) : "";
    banner.querySelector("button").textContent = translate("reload");
    document.body.dataset.kernel = key || "connected";
  };
  document.querySelector("#lost button").addEventListener("click", () => location.reload());

  const watch = (kernel) => {
    const PATIENCE = 5000, BEAT = 4000; // a beat keeps the kernel of a page in view from being ended
    let waiting = 0, busy = false;
    const answered = () => { clearTimeout(waiting); waiting = 0; if (gone === "silent") announce(""); };
    const silent = () => { waiting = 0; if (gone) return; if (busy) return ask(); announce("silent"); };
    const ask = () => { if (!waiting && gone !== "dead") waiting = setTimeout(silent, PATIENCE); };
    const beat = () => { if (document.hidden || gone === "dead") return; ask(); kernel.requestKernelInfo().catch(() => {}); };
    kernel.anyMessage.connect((_, message) => { if (message.direction === "recv") answered(); });
    kernel.statusChanged.connect((_, status) => {
      busy = status === "busy";
      if (["dead", "autorestarting", "restarting", "terminating"].includes(status)) announce("dead");
    });
    kernel.connectionStatusChanged.connect((_, status) => {
      if (gone !== "dead") announce(status === "connected" ? "" : "lost");
    });
    setInterval(beat, BEAT);
    document.addEventListener("visibilitychange", beat);
    for (const kind of ["change", "click"])
      document.addEventListener(kind, (event) => { if (event.target.closest?.(".jupyter-widgets")) ask(); }, true);
    announce("");
  };
  const find = setInterval(() => {
    const kernel = window.jupyterapp?.widgetManager?.kernel;
    if (kernel) { clearInterval(find); watch(kernel); }
  }, 50);

  // Typing: the kernel gets it after a pause, or at once on Tab and Enter; then the number gets its separators.
  let pause = 0;
  const passOn = (input) => { clearTimeout(pause); pause = 0; input.dispatchEvent(new CustomEvent("input", { bubbles: true, detail: "ours" })); };
  document.addEventListener("input", (event) => {
    if (event.detail === "ours" || !event.target.closest?.(".num")) return;
    event.stopPropagation();
    clearTimeout(pause);
    pause = setTimeout(passOn, 300, event.target);
  }, true);
  document.addEventListener("change", (event) => {
    const input = event.target, field = input.closest?.(".num.amount");
    if (pause) { clearTimeout(pause); pause = 0; }
    const plain = field && input.value.replace(/[\s,.]/g, "");
    if (!field || !/^[-−]?\d+$/.test(plain) || /[.,]\d{1,2}$/.test(input.value)) return;
    const mark = language() === "pt" ? "\u00a0" : ",";
    input.value = plain.replace("−", "-").replace(/\B(?=(\d{3})+$)/g, mark);
  }, true);

  // Upload: drag and drop, and a file that is too large is refused before it is sent. The message disappears at the next click.
  const forget = () => document.querySelector(".alert .ours")?.remove();
  document.addEventListener("click", (event) => { if (event.target.closest?.(".jupyter-widgets")) forget(); }, true);
  const refuse = (file) => {
    forget();
    const hint = document.querySelector("[data-most]"), megabytes = Math.ceil(file.size / 1e6);
    if (!hint || file.size <= 1e6 * Number(hint.dataset.most)) return false;
    const text = hint.dataset.large.replace("{name}", () => file.name).replace("{size}", megabytes);
    const box = document.querySelector(".alert .widget-html-content");
    box.replaceChildren(Object.assign(document.createElement("p"), { className: "ours", textContent: text }));
    box.scrollIntoView({ block: "center" });
    return true;
  };
  const click = HTMLInputElement.prototype.click;
  let dropped = null;
  HTMLInputElement.prototype.click = function () {
    if (this.type !== "file") return click.call(this);
    if (!this.dataset.ours) {
      this.dataset.ours = "yes";
      this.addEventListener("change", (event) => {
        if (this.files[0] && refuse(this.files[0])) { event.stopImmediatePropagation(); this.value = ""; }
      }, true);
    }
    if (!dropped) return click.call(this);
    this.files = dropped;
    dropped = null;
    this.dispatchEvent(new Event("change"));
  };
  const zone = (event) => event.target.closest?.(".drop");
  const mark = (event, on) => { const at = zone(event); if (at) { event.preventDefault(); at.classList.toggle("over", on); } return at; };
  document.addEventListener("dragover", (event) => mark(event, true));
  document.addEventListener("dragleave", (event) => mark(event, false));
  document.addEventListener("drop", (event) => {
    const at = mark(event, false);
    if (at) { dropped = event.dataTransfer.files; at.click(); dropped = null; }
  });

  // The footer is copied by its button.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    const text = button.previousElementSibling, words = button.textContent;
    try { await navigator.clipboard.writeText(text.textContent); }
    catch { getSelection().selectAllChildren(text); document.execCommand("copy"); }
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 1500);
  });

  // A recorded letter is printed from its frame, alone.
  document.addEventListener("click", (event) => {
    const frame = event.target.closest?.("button.print") && event.target.closest(".widget-html-content").querySelector("iframe.letter");
    if (frame) { frame.contentWindow.focus(); frame.contentWindow.print(); }
  });

  // Roles, names and states that ipywidgets does not set.
  let seen = null; // the answer itself, or else the small one at the bottom of a phone
  const watchAnswer = () => {
    const answer = document.querySelector(".card.answer"), mini = document.querySelector(".mini");
    if (seen || !answer || !mini) return;
    seen = new IntersectionObserver(([entry]) => mini.classList.toggle("unneeded", entry.isIntersecting), { threshold: 0.2 });
    seen.observe(answer);
  };
  const uncounted = (node) => { if (node && / \(\d+\)$/.test(node.data)) node.data = node.data.replace(/ \(\d+\)$/, ""); };
  const named = (group, label) => { give(group, { role: "group", "aria-label": label }); };
  const dress = () => {
    give(document.documentElement, { lang: language() });
    document.title = document.querySelector(".brand h1")?.textContent || "Rumos Bank";
    all(".a11y-live").forEach((each) => give(each, { role: "status", "aria-live": "polite", "aria-atomic": "true" }));
    all(".a11y-alert").forEach((each) => give(each, { role: "alert" }));
    all(".a11y-banner").forEach((each) => give(each, { role: "banner" }));
    all(".tabs").forEach((each) => named(each, translate("pages")));
    all(".lang").forEach((each) => named(each, translate("language")));
    all(".tabs button, .lang button").forEach((each) => give(each, { "aria-pressed": String(each.classList.contains("mod-active")) }));
    all(".f").forEach((each) => {
      const input = each.querySelector("input, select, textarea");
      if (each.classList.contains("invalid")) give(input, { "aria-invalid": "true" });
      else input?.removeAttribute("aria-invalid");
    });
    all(".num input").forEach((each) => give(each, { inputmode: "numeric", autocomplete: "off" }));
    all(".sl").forEach((each) => {
      const label = each.querySelector(".widget-label"), handle = each.querySelector(".noUi-handle");
      const value = label?.querySelector("b")?.textContent || "";
      if (handle && value) give(handle, { "aria-label": label.textContent.replace(value, "").trim(), "aria-valuetext": value });
    });
    all(".progress").forEach((each) => give(each.querySelector(".progress, [role=progressbar]"), { "aria-label": each.textContent.trim() || "…" }));
    all(".dt-container input[type=search]").forEach((each) => give(each, { "aria-label": translate("search") }));
    all(".dt-container select").forEach((each) => give(each, { "aria-label": translate("rows") }));
    all(".drop").forEach((each) => [...each.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).forEach(uncounted));
    watchAnswer();
    if (gone) announce(gone);
  };
  let later = 0;
  new MutationObserver(() => { cancelAnimationFrame(later); later = requestAnimationFrame(dress); })
    .observe(document.getElementById("rendered_cells"), { subtree: true, childList: true, attributes: true, attributeFilter: ["class", "aria-valuetext"] });

  // The language is that of the browser at first, and the chosen one from then on.
  let chosen;
  try { chosen = localStorage.getItem("desk-language"); } catch { /* private windows keep nothing */ }
  chosen ||= navigator.language.startsWith("pt") ? "pt" : "en";
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".lang button");
    try { if (button) localStorage.setItem("desk-language", button.textContent.trim().toLowerCase()); } catch { /* nothing to keep */ }
  });
  const speak = setInterval(() => {
    const buttons = all(".lang button");
    if (!buttons.length || document.body.dataset.kernel !== "connected") return;
    clearInterval(speak);
    const button = buttons.find((each) => each.textContent.trim().toLowerCase() === chosen);
    if (button && !button.classList.contains("mod-active")) button.click();
    document.body.dataset.ready = "yes";
  }, 50);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shade = () => document.documentElement.classList.toggle("dark", dark.matches); // for itables
  dark.addEventListener("change", shade);
  shade();
})();
