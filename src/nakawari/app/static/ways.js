// Point tracks from the first key to the second, over both images. Coordinates are pixels of the drawings at any
// display size: each SVG has the drawing's size as its viewBox, and the browser's matrix maps back to it.
"use strict";
(() => {
  const { components, make, draw, pointIn, drag, typing, isSeen } = window.nakawari;
  const COLOURS = ["#e63c32", "#2878dc", "#1ea050", "#f0a014", "#9646be", "#14aab4"];
  const GRIP = 9, TOUCH = 22;

  components.ways = (box, say) => {
    let value = null, ways = [], chosen = -1;
    const history = [];
    const boards = [0, 1].map((end) => board(end));
    const button = (text, title, act) => make("button", { class: "nk-tool", text, title, "aria-label": title, onclick: act });
    const undoing = button("Undo", "Undo (Ctrl+Z)", undo);
    const removing = button("Remove point", "Remove the chosen point (Delete)", () => remove(chosen));
    const clearing = button("Remove all", "Remove all points of this gap", () => { keep(); ways = []; chosen = -1; commit(); });
    const count = make("span", { class: "nk-hint", role: "status" });
    const empty = make("p", { class: "nk-empty", text: "Add two or more key drawings on the Draw page; then set tracks from one to the next here." });
    const body = make("div", { class: "nk-tracks" },
      make("p", { class: "nk-hint", text: "Click the first key to add a point, then drag its dot on the second key to its target. Drag the small dot on a track to bend it. A right click removes." }),
      make("div", { class: "nk-boards" }, ...boards.map((one) => one.figure)),
      make("div", { class: "nk-tools" }, undoing, removing, clearing, count));
    box.replaceChildren(empty, body);

    function board(end) {
      const image = make("img", { draggable: "false", alt: end ? "Second key" : "First key" });
      const svg = draw("svg", { class: "nk-board", "data-end": end, role: "application", "aria-label": end ? "Second key: drag points to their targets" : "First key: click to add a point" });
      const caption = make("figcaption");
      svg.addEventListener("contextmenu", (event) => event.preventDefault());
      svg.addEventListener("pointerdown", (event) => press(event, svg, end));
      return { image, svg, caption, figure: make("figure", {}, caption, make("div", { class: "nk-shown" }, image, svg)) };
    }

    // An integer is the centre of a pixel, as on the command line.
    const inside = ([x, y]) => [Math.max(0, Math.min(value.size[0] - 1, x)), Math.max(0, Math.min(value.size[1] - 1, y))];
    const placeOf = (svg, event) => inside(pointIn(svg, event).map((one) => one - 0.5));
    const rounded = (point) => point.map((one) => Math.round(one * 100) / 100);
    const keep = () => { history.push(JSON.stringify(ways)); if (history.length > 100) history.shift(); };
    function commit() { paint(); say("ways", { gap: value.gap, at: performance.timeOrigin + performance.now(), ways: ways.map((way) => way.map(rounded)) }); }
    function undo() { if (history.length) { ways = JSON.parse(history.pop()); chosen = -1; commit(); } }
    function remove(number) { if (ways[number]) { keep(); ways.splice(number, 1); chosen = -1; commit(); } }

    function press(event, svg, end) {
      const hit = event.target.closest("[data-way]");
      const number = hit ? Number(hit.dataset.way) : -1;
      if (event.button === 2) { event.preventDefault(); return remove(number); }
      if (event.button !== 0) return;
      keep();
      const place = placeOf(svg, event);
      let at;
      if (hit && hit.dataset.bend) { at = Number(hit.dataset.bend); ways[number].splice(at, 0, place); chosen = number; }
      else if (hit) { at = Number(hit.dataset.point); chosen = number; }
      else { ways.push([place, [...place]]); chosen = ways.length - 1; at = end ? 1 : 0; }
      const fresh = !hit, way = ways[chosen];
      let moved = false;
      paint();
      drag(event, (e) => {
        way[at] = placeOf(svg, e);
        // A new point on the first key moves its end with it; on the second key its start stays.
        if (fresh && at === 0) way[1] = [...way[0]];
        moved = true;
        paint();
      }, () => { if (hit && !moved && !hit.dataset.bend) { history.pop(); paint(); } else commit(); });
    }

    function paint() {
      const shown = boards[0].svg.getBoundingClientRect().width || 1;
      const unit = value.size[0] / shown;
      boards.forEach(({ svg }, end) => {
        svg.replaceChildren();
        ways.forEach((way, number) => {
          const colour = COLOURS[number % COLOURS.length], last = way.length - 1;
          const line = (width, stroke) => draw("polyline", { points: way.map((p) => `${p[0] + 0.5},${p[1] + 0.5}`).join(" "), fill: "none", stroke, "stroke-width": width * unit, "stroke-linejoin": "round" });
          svg.append(line(number === chosen ? 6 : 4, "#fffc"), line(number === chosen ? 3.5 : 2, colour));
          const dot = (point, radius, more, fill) => {
            const group = draw("g", { "data-way": number, transform: `translate(${point[0] + 0.5} ${point[1] + 0.5})`, ...more },
              draw("circle", { r: TOUCH * unit / 2, fill: "transparent" }), draw("circle", { r: radius * unit, fill, stroke: "#fff", "stroke-width": 2 * unit }));
            svg.append(group);
          };
          for (let one = 1; one <= last; one++) {
            const [a, b] = [way[one - 1], way[one]];
            const apart = Math.hypot(a[0] - b[0], a[1] - b[1]) > 3 * TOUCH * unit;
            if (number === chosen && apart) dot([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], GRIP * 0.45, { "data-bend": one, class: "nk-bend" }, colour);
          }
          way.slice(1, -1).forEach((point, index) => dot(point, GRIP * 0.6, { "data-point": index + 1 }, colour));
          dot(way[end ? 0 : last], GRIP * 0.5, { "data-point": end ? 0 : last, opacity: 0.55 }, colour);
          dot(way[end ? last : 0], GRIP, { "data-point": end ? last : 0, class: "nk-mine" }, colour);
        });
      });
      undoing.disabled = !history.length;
      removing.disabled = chosen < 0;
      clearing.disabled = !ways.length;
      count.textContent = ways.length === 1 ? "1 point" : `${ways.length} points`;
    }

    document.addEventListener("keydown", (event) => {
      if (!value || !isSeen(body) || typing(event)) return;
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
      else if ((event.key === "Delete" || event.key === "Backspace") && chosen >= 0) remove(chosen);
      else if (step && chosen >= 0) {
        keep();
        const way = ways[chosen], by = event.shiftKey ? 10 : 1;
        way[way.length - 1] = inside([way.at(-1)[0] + by * step[0], way.at(-1)[1] + by * step[1]]);
        commit();
      } else return;
      event.preventDefault();
    });
    new ResizeObserver(() => { if (value) paint(); }).observe(body);

    return (next) => {
      const other = !value || !next || value.gap !== next.gap || value.keys.join() !== next.keys.join();
      value = next;
      empty.hidden = Boolean(value);
      body.hidden = !value;
      if (!value) return;
      if (other) { history.length = 0; chosen = -1; }
      if (next.by_hand !== true && JSON.stringify(next.ways) !== JSON.stringify(ways)) {
        if (!other) keep();
        ways = structuredClone(next.ways);
      }
      boards.forEach((one, end) => {
        one.image.src = value.keys[end];
        one.svg.setAttribute("viewBox", `0 0 ${value.size[0]} ${value.size[1]}`);
        one.caption.textContent = `${end ? "To" : "From"}: ${value.names[end]}`;
        one.image.parentElement.style.aspectRatio = `${value.size[0]} / ${value.size[1]}`;
        one.image.parentElement.classList.toggle("nk-alpha", true);
      });
      paint();
    };
  };
})();
