// Shared by the components: create elements without markup, and mount a component into its Gradio element.
// External text is set through textContent only, so that no name can become markup.
"use strict";
window.nakawari = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const components = {};

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "text") node.textContent = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children) if (child) node.append(child);
    return node;
  }
  const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // Coordinates of an event in an SVG: source pixels if its viewBox is the image's size.
  function pointIn(svg, event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  // Follow a pointer (mouse or touch) from press to release.
  function drag(event, move, end) {
    event.preventDefault();
    const pointer = event.pointerId;
    const on = (e) => { if (e.pointerId === pointer) { e.preventDefault(); move(e); } };
    const off = (e) => {
      if (e.pointerId !== pointer) return;
      window.removeEventListener("pointermove", on);
      window.removeEventListener("pointerup", off);
      window.removeEventListener("pointercancel", off);
      end(e);
    };
    window.addEventListener("pointermove", on, { passive: false });
    window.addEventListener("pointerup", off);
    window.addEventListener("pointercancel", off);
  }

  const typing = (event) => event.target.closest("input, textarea, select, [contenteditable]") !== null;
  const isSeen = (node) => node.isConnected && node.offsetParent !== null;

  // `part` has `element`, `props`, `watch`, `trigger`, `upload` of Gradio and `event`, under which Python hears.
  function mount(name, part) {
    const box = part.element.querySelector(".nk");
    const say = (action, data = {}) => part.trigger(part.event, { action, ...data });
    const show = components[name](box, say, part.upload);
    const update = () => show(part.props.value);
    part.watch("value", update);
    update();
  }
  return { components, make, draw, pointIn, drag, typing, isSeen, mount };
})();
