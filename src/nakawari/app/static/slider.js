// Two sequences overlaid in sync, with a line between them to drag.
"use strict";
(() => {
  const { components, make, drag, typing, isSeen } = window.nakawari;

  components.slider = (box) => {
    let value = null, at = 0, share = 50, timer = null;
    const left = make("img", { draggable: "false", alt: "" }), right = make("img", { draggable: "false", alt: "" });
    const line = make("div", { class: "nk-line", tabindex: 0, role: "slider", "aria-label": "What is left and right of it", "aria-valuemin": 0, "aria-valuemax": 100 });
    const stage = make("div", { class: "nk-shown nk-pair" }, right, left, line);
    const names = make("div", { class: "nk-names" });
    const frame = make("input", { type: "range", min: 0, value: 0, "aria-label": "Frame", oninput: () => { stop(); go(Number(frame.value)); } });
    const play = make("button", { class: "nk-tool", text: "▶ Play", title: "Play (space)", onclick: () => (timer ? stop() : start()) });
    const about = make("p", { class: "nk-about", "aria-live": "polite" });
    const table = make("table", { class: "nk-table" });
    const empty = make("p", { class: "nk-empty", text: "Choose two results, or models that draw the keys of the Draw page, and press Compare. With the true frames added, each gets its scores." });
    const body = make("div", { class: "nk-player" }, names, stage, make("div", { class: "nk-tools" }, play, frame), about, table);
    box.replaceChildren(empty, body);

    const put = (percent) => {
      share = Math.max(0, Math.min(100, percent));
      left.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      line.style.left = `${share}%`;
      line.setAttribute("aria-valuenow", Math.round(share));
    };
    const across = (event) => { const place = stage.getBoundingClientRect(); put((100 * (event.clientX - place.left)) / place.width); };
    stage.addEventListener("pointerdown", (event) => { across(event); drag(event, across, () => {}); line.focus(); });
    line.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      put(share + by);
    });
    const count = () => Math.min(...value.sides.map((one) => one.frames.length));
    function go(place) {
      at = (place + count()) % count();
      left.src = value.sides[0].frames[at];
      right.src = value.sides[1].frames[at];
      frame.value = at;
      about.textContent = `Frame ${at + 1} of ${count()}`;
    }
    function start() { play.textContent = "❚❚ Pause"; timer = setInterval(() => go(at + 1), 1000 / value.fps); }
    function stop() { clearInterval(timer); timer = null; play.textContent = "▶ Play"; }
    document.addEventListener("keydown", (event) => {
      if (!value || !isSeen(body) || typing(event) || event.target.closest("button, [role=tab]")) return;
      const act = { " ": () => (timer ? stop() : start()), ArrowLeft: () => { stop(); go(at - 1); }, ArrowRight: () => { stop(); go(at + 1); } }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });

    return (next) => {
      stop();
      value = next && next.sides.length === 2 && next.sides.every((one) => one.frames.length) ? next : null;
      empty.hidden = Boolean(value);
      body.hidden = !value;
      if (!value) return;
      for (const one of value.sides) for (const url of one.frames) new Image().src = url;
      names.replaceChildren(...value.sides.map((one) => make("span", { text: one.name })));
      stage.style.aspectRatio = `${value.size[0]} / ${value.size[1]}`;
      stage.style.setProperty("--ratio", value.size[0] / value.size[1]);
      frame.max = count() - 1;
      const heads = value.sides.flatMap((one) => Object.keys(one.scores || {})).filter((name, place, all) => all.indexOf(name) === place);
      table.hidden = !heads.length;
      table.replaceChildren(
        make("tr", {}, make("th"), ...heads.map((text) => make("th", { text }))),
        ...value.sides.map((one) => make("tr", {}, make("th", { text: one.name }), ...heads.map((name) => make("td", { text: one.scores?.[name] ?? "" })))));
      put(share);
      go(Math.min(at, count() - 1));
    };
  };

  // A report, in a sandboxed frame without scripts.
  components.report = (box) => (value) => {
    box.replaceChildren(...(value ? [make("iframe", { src: value, sandbox: "", title: "Report", class: "nk-report" })] : []));
  };
})();
