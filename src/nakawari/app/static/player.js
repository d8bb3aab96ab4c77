// The player: frame by frame or playing, on ones, on twos or as timed, with onion skin and flipping.
"use strict";
(() => {
  const { components, make, typing, isSeen } = window.nakawari;

  components.player = (box, say) => {
    const doubts = make("ul", { class: "nk-notes" });
    let value = null, shown = "", at = 0, before = 0, timer = null, held = 0;
    const stage = make("div", { class: "nk-stage", tabindex: 0, "aria-label": "Player: space plays, arrows step, F flips, O is onion skin" });
    const about = make("p", { class: "nk-about", "aria-live": "polite" });
    const film = make("div", { class: "nk-film", role: "listbox", "aria-label": "Frames" });
    const button = (text, label, act) => make("button", { class: "nk-tool", text, title: label, "aria-label": label, onclick: act });
    const play = button("▶ Play", "Play (space)", () => (timer ? stop() : start()));
    const onion = button("Onion", "Onion skin of the neighbours (O)", () => { onion.classList.toggle("nk-on"); show(); });
    const flip = button("Flip", "Flip to the frame shown before (F)", () => go(before));
    const timing = make("select", { class: "nk-tool", "aria-label": "On ones, on twos, or as timed" });
    for (const [name, text] of [["timed", "as timed"], ["1", "on ones"], ["2", "on twos"]]) timing.append(make("option", { value: name, text }));
    const tools = make("div", { class: "nk-tools" }, button("|◀", "First frame (Home)", () => go(0)), button("◀", "Previous frame (left arrow)", () => step(-1)), play,
      button("▶", "Next frame (right arrow)", () => step(1)), button("▶|", "Last frame (End)", () => go(Infinity)), timing, onion, flip);
    const empty = make("p", { class: "nk-empty", text: "The drawn sequence plays here. Add two key drawings above, then press Draw." });
    const body = make("div", { class: "nk-player" }, stage, tools, about, film, doubts);
    box.replaceChildren(empty, body);

    const frames = () => value.frames;
    const wrap = (place) => (place + frames().length) % frames().length;
    function go(place) {
      place = Math.max(0, Math.min(frames().length - 1, place));
      if (place !== at) { before = at; at = place; }
      show();
      if (!timer) say("pick", { file: frames()[at].file });
    }
    function step(by) { stop(); go(wrap(at + by)); }
    const length = () => (timing.value === "timed" ? frames()[at].length : Number(timing.value));
    function start() {
      held = 0;
      play.textContent = "❚❚ Pause";
      timer = setInterval(() => {
        held += 1;
        if (held < length()) return;
        held = 0;
        at = wrap(at + 1);
        show();
      }, 1000 / value.fps);
    }
    function stop() {
      if (!timer) return;
      clearInterval(timer);
      timer = null;
      play.textContent = "▶ Play";
      say("pick", { file: frames()[at].file });
    }

    function show() {
      const skins = onion.classList.contains("nk-on") && !timer;
      const ends = value.loop ? [wrap(at - 1), wrap(at + 1)] : [at - 1, at + 1];
      [...stage.children].forEach((image, place) => {
        image.className = place === at ? "nk-now" : skins && place === ends[0] ? "nk-skin nk-earlier" : skins && place === ends[1] ? "nk-skin nk-later" : "";
      });
      [...film.children].forEach((one, place) => {
        one.setAttribute("aria-selected", place === at);
        if (place === at && isSeen(film)) film.scrollTo({ left: one.offsetLeft - film.clientWidth / 2 + one.clientWidth / 2 });
      });
      const frame = frames()[at];
      stage.classList.toggle("nk-iskey", frame.key !== null);
      const words = [`Frame ${frame.number}`];
      if (frame.key !== null) words.push(`key ${frame.key}`);
      else {
        words.push(`in-between of ${frame.of}${frame.share === null ? "" : `, ${Math.round(frame.share * 100)} % of the way`}`);
        if (frame.drawn_by === "parts") words.push("drawn by its parts");
        if (frame.drawn_by === "both") words.push("figures drawn by their parts");
        if (typeof frame.confidence === "number") words.push(`confidence ${Math.round(frame.confidence * 100)} %`);
      }
      about.textContent = words.join(" · ");
    }

    document.addEventListener("keydown", (event) => {
      if (!value || !isSeen(stage) || typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest(".nk-tick, .nk-tracks, [role=tab]") || (event.key === " " && event.target.closest("button"))) return;
      const acts = { " ": () => (timer ? stop() : start()), ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => go(0),
        End: () => go(Infinity), f: () => go(before), o: () => onion.click() };
      const act = acts[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    new MutationObserver(() => { if (timer && !isSeen(stage)) stop(); }).observe(document.body, { attributes: true, subtree: true, attributeFilter: ["hidden", "style", "class"] });

    return (next) => {
      const said = JSON.stringify(next);
      if (said === shown) return; // while a model draws, the same comes again and again
      shown = said;
      const here = value && value.frames[at].number, there = value && (value.frames[before] || value.frames[at]).number;
      const playing = timer && next;
      if (timer) { clearInterval(timer); timer = null; play.textContent = "▶ Play"; }
      value = next;
      empty.hidden = Boolean(value);
      body.hidden = !value;
      if (!value) return;
      const placeOf = (number) => Math.max(0, frames().findIndex((frame) => frame.number === number));
      at = placeOf(here);
      before = placeOf(there);
      stage.style.aspectRatio = `${value.size[0]} / ${value.size[1]}`;
      stage.style.setProperty("--ratio", value.size[0] / value.size[1]);
      stage.classList.toggle("nk-alpha", value.channels === "RGBA");
      stage.replaceChildren(...frames().map((frame) => make("img", { src: frame.url, alt: `Frame ${frame.number}`, draggable: "false" })));
      film.replaceChildren(...frames().map((frame, place) => {
        const sure = typeof frame.confidence === "number" ? make("span", { class: "nk-sure" }) : null;
        if (sure) sure.style.setProperty("--sure", Math.max(0, Math.min(1, frame.confidence)));
        return make("button", { role: "option", class: frame.key === null ? "nk-frame" : "nk-frame nk-framed", "aria-label": `Frame ${frame.number}${frame.key === null ? "" : ", a key"}`,
          onclick: () => { stop(); go(place); } }, make("img", { src: frame.url, alt: "", loading: "lazy" }), sure, make("span", { text: frame.number }));
      }));
      doubts.replaceChildren(...value.warnings.map((text) => make("li", { text })));
      show();
      if (playing) start();
      else if (isSeen(stage)) say("pick", { file: frames()[at].file });
    };
  };

  // Downloads.
  components.links = (box) => (value) => {
    box.replaceChildren(...(value || []).map((one) => make("a", { href: one.url, text: one.text, download: true })));
  };

  // Status of a job: progress bar, position in the queue, one sentence.
  components.status = (box) => {
    const bar = make("div", { class: "nk-bar" }), words = make("p", { role: "status" }), notes = make("ul", { class: "nk-notes" });
    box.replaceChildren(make("div", { class: "nk-track" }, bar), words, notes);
    return (value) => {
      value = value || { state: "", words: "", share: 0, notes: [] };
      box.dataset.state = value.state;
      bar.style.width = `${100 * (value.share || 0)}%`;
      words.textContent = value.words;
      notes.replaceChildren(...(value.notes || []).map((text) => make("li", { text })));
    };
  };
})();
