// Training clips, results of a check or a plan, and a running training: its curve and its samples.
"use strict";
(() => {
  const { components, make, draw } = window.nakawari;
  const WIDTH = 640, HEIGHT = 180, EDGE = 36;

  async function entriesOf(items) {
    const found = [];
    async function walk(entry, path) {
      if (entry.isFile) found.push({ file: await new Promise((good, bad) => entry.file(good, bad)), path: path + entry.name });
      else {
        const reader = entry.createReader();
        for (;;) {
          const more = await new Promise((good, bad) => reader.readEntries(good, bad));
          if (!more.length) break;
          for (const one of more) await walk(one, `${path}${entry.name}/`);
        }
      }
    }
    for (const entry of [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean)) await walk(entry, "");
    return found;
  }

  components.clips = (box, say, upload) => {
    const picker = make("input", { type: "file", multiple: true, hidden: true, onchange: () => send([...picker.files].map((file) => ({ file, path: file.name }))) });
    const folder = make("input", { type: "file", webkitdirectory: true, hidden: true, onchange: () => send([...folder.files].map((file) => ({ file, path: file.webkitRelativePath }))) });
    const list = make("ul", { class: "nk-list" }), note = make("p", { class: "nk-hint", role: "status" });
    const words = make("p", { class: "nk-empty" });
    const tools = make("div", { class: "nk-tools" }, make("button", { class: "nk-big", text: "Add files", onclick: () => picker.click() }),
      make("button", { class: "nk-link", text: "or a folder", onclick: () => folder.click() }), make("button", { class: "nk-link", text: "Remove all", onclick: () => say("clear") }));
    box.replaceChildren(make("div", { class: "nk-drop" }, words, list, tools, note), picker, folder);
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("nk-over"); });
    box.addEventListener("dragleave", () => box.classList.remove("nk-over"));
    box.addEventListener("drop", async (event) => {
      event.preventDefault();
      box.classList.remove("nk-over");
      send(await entriesOf(event.dataTransfer.items));
    });
    async function send(entries) {
      const sent = [];
      for (const [index, { file, path }] of entries.filter((one) => !one.file.name.startsWith(".")).entries()) {
        note.textContent = `Sending ${index + 1} of ${entries.length} …`;
        try { sent.push({ path: (await upload(file)).path, name: path }); }
        catch (error) { note.textContent = `${file.name} could not be sent; add it again.`; }
      }
      note.textContent = "";
      picker.value = folder.value = "";
      if (sent.length) say("add", { files: sent });
    }
    return (value) => {
      value = value || { words: "", files: [] };
      words.textContent = value.files.length ? "" : value.words;
      list.replaceChildren(...value.files.map((one) => make("li", {}, make("span", { text: one.text }),
        make("button", { class: "nk-small", text: "✕", "aria-label": `Remove ${one.name}`, onclick: () => say("remove", { name: one.name }) }))));
      tools.lastChild.hidden = !value.files.length;
    };
  };

  // Rows of text, from a check or a plan.
  components.rows = (box) => (value) => {
    box.replaceChildren(...(value && value.rows.length ? [make("table", { class: "nk-table" }, ...value.rows.map(([head, text]) => make("tr", {}, make("th", { text: head }), make("td", { text }))))] : []));
  };

  function curve(points, label, unit) {
    const known = points.filter((point) => Number.isFinite(point[1]));
    if (known.length < 2) return null;
    const [xs, ys] = [0, 1].map((axis) => known.map((point) => point[axis]));
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const at = ([x, y]) => `${EDGE + ((x - left) / (right - left || 1)) * (WIDTH - 2 * EDGE)},${HEIGHT - EDGE / 2 - ((y - low) / (high - low || 1)) * (HEIGHT - EDGE * 1.5)}`;
    const word = (x, y, text, anchor) => draw("text", { x, y, text, "text-anchor": anchor });
    return make("figure", { class: "nk-curve" }, make("figcaption", { text: label }),
      draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${label}, from ${ys[0].toFixed(3)} to ${ys.at(-1).toFixed(3)}` },
        draw("polyline", { points: known.map(at).join(" "), fill: "none" }),
        word(2, 16, `${high.toFixed(2)}${unit}`, "start"), word(2, HEIGHT - 6, `${low.toFixed(2)}${unit}`, "start"), word(WIDTH - 4, HEIGHT - 2, `step ${right}`, "end")));
  }

  components.run = (box) => (value) => {
    if (!value) return box.replaceChildren();
    box.replaceChildren(...[
      curve(value.loss, "Loss of every step", ""),
      curve(value.psnr, "PSNR on held-out samples", " dB"),
      value.best ? make("p", { class: "nk-hint", text: value.best }) : null,
      value.pictures.length ? make("p", { class: "nk-hint", text: `Held out, after step ${value.step}. Rows: truth, without the adapter, with it.` }) : null,
      ...value.pictures.map((src) => make("img", { src, alt: "Held-out samples", class: "nk-sample" })),
    ].filter(Boolean));
  };
})();
