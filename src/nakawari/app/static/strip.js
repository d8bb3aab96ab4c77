// The strip: key drawings in order, with the timing chart of every gap between them.
"use strict";
(() => {
  const { components, make, draw, pointIn, drag } = window.nakawari;
  const WIDTH = 120, HEIGHT = 30, ROOM = 8;
  const CURVES = ["even", "ease-in", "ease-out", "ease"];

  // All dropped files, including those in folders, in natural order of their names.
  async function filesOf(items) {
    const found = [];
    async function walk(entry) {
      if (entry.isFile) found.push(await new Promise((good, bad) => entry.file(good, bad)));
      else {
        const reader = entry.createReader();
        for (;;) {
          const more = await new Promise((good, bad) => reader.readEntries(good, bad));
          if (!more.length) break;
          for (const one of more) await walk(one);
        }
      }
    }
    for (const entry of [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean)) await walk(entry);
    return found;
  }

  components.strip = (box, say, upload) => {
    let value = null, moving = null;
    const picker = make("input", { type: "file", multiple: true, hidden: true, onchange: () => send(picker.files) });
    const folder = make("input", { type: "file", webkitdirectory: true, hidden: true, onchange: () => send(folder.files) });
    const row = make("div", { class: "nk-strip", role: "list", "aria-label": "Key drawings" });
    const note = make("p", { class: "nk-hint", role: "status" });
    box.replaceChildren(row, note, picker, folder);
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("nk-over"); });
    box.addEventListener("dragleave", () => box.classList.remove("nk-over"));
    box.addEventListener("drop", async (event) => {
      event.preventDefault();
      box.classList.remove("nk-over");
      if (moving === null && event.dataTransfer.items.length) send(await filesOf(event.dataTransfer.items));
    });

    async function send(list) {
      const files = [...list].filter((file) => !file.name.startsWith("."));
      files.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
      const sent = [];
      for (const [index, file] of files.entries()) {
        note.textContent = `Sending ${index + 1} of ${files.length} …`;
        try { sent.push({ path: (await upload(file)).path, name: file.name }); }
        catch (error) { note.textContent = `${file.name} could not be sent; add it again.`; }
      }
      note.textContent = "";
      picker.value = folder.value = "";
      if (sent.length) say("add", { files: sent });
    }

    function key(one, place) {
      const step = (by) => () => say("move", { place, to: place + by });
      const button = (text, label, act, off) =>
        make("button", { class: "nk-small", title: label, "aria-label": `${label}: ${one.name}`, text, disabled: off, onclick: act });
      const card = make("div", { class: "nk-key", role: "listitem", draggable: "true", "data-key": place },
        make("img", { src: one.url, alt: one.name, draggable: "false" }),
        make("div", { class: "nk-name", text: one.name, title: `${one.name}, ${one.width} × ${one.height}` }),
        make("div", { class: "nk-row" }, button("◀", "Earlier", step(-1), place === 0),
          button("▶", "Later", step(1), place === value.keys.length - 1), button("✕", "Remove", () => say("remove", { place }))));
      card.addEventListener("dragstart", () => { moving = place; });
      card.addEventListener("dragend", () => { moving = null; });
      card.addEventListener("drop", (event) => {
        if (moving === null) return;
        event.preventDefault();
        event.stopPropagation();
        if (moving !== place) say("move", { place: moving, to: place });
      });
      return card;
    }

    function chart(one, gap) {
      const shares = [...one.shares];
      const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "nk-chart", role: "group", "aria-label": `Timing of ${one.name}` });
      const at = (share) => ROOM + share * (WIDTH - 2 * ROOM);
      svg.append(draw("line", { x1: at(0), x2: at(1), y1: 15, y2: 15, class: "nk-way" }));
      for (const end of [0, 1]) svg.append(draw("line", { x1: at(end), x2: at(end), y1: 3, y2: 27, class: "nk-end" }));
      const commit = () => say("shares", { gap, shares });
      const ticks = shares.map((share, index) => {
        const tick = draw("g", { class: "nk-tick", tabindex: 0, role: "slider", "aria-label": `In-between ${index + 1}`, "aria-valuenow": share.toFixed(3), "aria-valuemin": 0, "aria-valuemax": 1 },
          draw("rect", { x: -6, y: 2, width: 12, height: 26, class: "nk-grip" }), draw("line", { y1: 7, y2: 23 }));
        const put = (wanted) => {
          const low = (shares[index - 1] ?? 0) + 0.005, high = (shares[index + 1] ?? 1) - 0.005;
          shares[index] = Math.max(low, Math.min(high, wanted));
          tick.setAttribute("transform", `translate(${at(shares[index])} 0)`);
          tick.setAttribute("aria-valuenow", shares[index].toFixed(3));
        };
        put(share);
        tick.addEventListener("pointerdown", (event) => drag(event, (e) => put((pointIn(svg, e)[0] - ROOM) / (WIDTH - 2 * ROOM)), commit));
        tick.addEventListener("keydown", (event) => {
          const by = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
          if (!by) return;
          event.preventDefault();
          event.stopPropagation();
          put(shares[index] + by);
          clearTimeout(tick.later);
          tick.later = setTimeout(commit, 600);
        });
        return tick;
      });
      svg.append(...ticks);
      return svg;
    }

    const capital = (text) => text[0].toUpperCase() + text.slice(1);
    function gap(one, number) {
      if (one.apart) return make("div", { class: "nk-apart", role: "listitem", title: "Nothing is drawn between two pairs" });
      const count = make("input", { type: "number", min: 0, max: 1000, value: one.between, "aria-label": `In-betweens of ${one.name}`,
        onchange: () => say("between", { gap: number, count: Math.round(Number(count.value)) }) });
      const by = (step) => make("button", { class: "nk-small", text: step > 0 ? "+" : "−", "aria-label": `${step > 0 ? "More" : "Fewer"} in-betweens in ${one.name}`,
        onclick: () => say("between", { gap: number, count: Math.max(0, one.between + step) }) });
      const curve = make("select", { "aria-label": `Spacing of ${one.name}`, onchange: () => say("curve", { gap: number, curve: curve.value }) });
      for (const name of one.curve ? CURVES : ["own", ...CURVES]) curve.append(make("option", { value: name, text: name === "own" ? "by hand" : name }));
      curve.value = one.curve || "own";
      return make("div", { class: "nk-gap", role: "listitem" },
        make("div", { class: "nk-label", text: one.closing ? `${capital(one.name)}, back to the first` : capital(one.name) }),
        make("div", { class: "nk-row" }, by(-1), count, by(1)), chart(one, number), curve);
    }

    const adder = () => make("div", { class: "nk-add" },
      make("button", { class: "nk-big", text: "Add drawings", onclick: () => picker.click() }),
      make("button", { class: "nk-link", text: "or a folder", onclick: () => folder.click() }),
      value.keys.length ? make("button", { class: "nk-link", text: "Remove all", onclick: () => say("clear") })
        : make("button", { class: "nk-link", text: "or try the examples", onclick: () => say("examples") }));

    return (next) => {
      if (!next) return row.replaceChildren(make("p", { class: "nk-empty", text: "Loading …" }));
      value = next;
      const left = row.scrollLeft, focus = document.activeElement && document.activeElement.getAttribute("aria-label");
      const parts = [];
      value.keys.forEach((one, place) => {
        parts.push(key(one, place));
        if (value.gaps[place]) parts.push(gap(value.gaps[place], place));
      });
      if (!value.keys.length) parts.push(make("p", { class: "nk-empty", text: "Drop two or more key drawings here, in order. A time sheet (.xdts) dropped with them sets the timing." }));
      row.replaceChildren(...parts, adder());
      row.scrollLeft = left;
      if (focus) [...row.querySelectorAll("[aria-label]")].find((node) => node.getAttribute("aria-label") === focus)?.focus();
    };
  };
})();
