"use strict";
const plots = [...document.querySelectorAll(".plot")];
const options = { displayModeBar: false, responsive: true };
// A phone has no room for what a screen has: smaller letters, and words broken where the figure says.
function narrow(layout) {
  layout.font = { ...layout.font, size: 11 };
  for (const name of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
    layout[name].tickfont = { ...layout[name].tickfont, size: 10.5 };
  }
  if (layout.meta && layout.meta.narrow) layout.xaxis.ticktext = layout.meta.narrow;
}

// Plotly's own legend cuts names and overlaps on narrow pages; this one flows like text. A click hides and shows.
function legend(plot, traces) {
  const list = document.createElement("ul");
  list.className = "legend";
  traces.forEach((trace, number) => {
    if (trace.showlegend === false || !trace.name) return;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.innerHTML = key(trace);
    button.append(trace.name);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      const same = (other, place) => place === number || (trace.legendgroup && other.legendgroup === trace.legendgroup);
      Plotly.restyle(plot, { visible: shown }, traces.flatMap((other, place) => (same(other, place) ? [place] : [])));
      const notes = (plot.layout.annotations || []).flatMap((note, place) => (note.name === trace.name ? [place] : []));
      Plotly.relayout(plot, Object.fromEntries(notes.map((place) => [`annotations[${place}].visible`, shown])));
    });
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  });
  return list;
}

const shapes = {
  circle: (fill, stroke) => `<circle cx="12" cy="7" r="4.5" fill="${fill}" ${stroke}/>`,
  square: (fill, stroke) => `<rect x="7.5" y="2.5" width="9" height="9" fill="${fill}" ${stroke}/>`,
  diamond: (fill, stroke) => `<path d="M12 1l6 6-6 6-6-6z" fill="${fill}" ${stroke}/>`,
  "triangle-up": (fill, stroke) => `<path d="M12 1.5l6 10.5H6z" fill="${fill}" ${stroke}/>`,
  "triangle-down": (fill, stroke) => `<path d="M12 12.5L6 2h12z" fill="${fill}" ${stroke}/>`,
  hexagon: (fill, stroke) => `<path d="M12 1.5l4.8 2.75v5.5L12 12.5l-4.8-2.75v-5.5z" fill="${fill}" ${stroke}/>`,
  bowtie: (fill, stroke) => `<path d="M6 2l6 5 6-5v10l-6-5-6 5z" fill="${fill}" ${stroke}/>`,
  cross: (fill, stroke) => `<path d="M10 2h4v3h3v4h-3v3h-4V9H7V5h3z" fill="${fill}" ${stroke}/>`,
  star: (fill, stroke) => `<path d="M12 1l1.7 4.2 4.5.3-3.5 2.9 1.1 4.4L12 10.4l-3.8 2.4 1.1-4.4-3.5-2.9 4.5-.3z" fill="${fill}" ${stroke}/>`,
  "x-thin": (fill, stroke) => `<path d="M8 3l8 8M16 3l-8 8" ${stroke}/>`,
  "line-ns": (fill, stroke) => `<path d="M12 2v10" ${stroke}/>`,
};

// The colours and names of shapes are our own (dashboards/*.py): no text from outside comes in here.
function key(trace) {
  let inside = "";
  if (trace.type === "bar") {
    const hatched = trace.marker.pattern && trace.marker.pattern.shape;
    const colour = trace.marker.line.color;
    inside = `<rect x="4" y="2" width="16" height="10" fill="${trace.marker.color}" stroke="${colour}"/>`;
    if (hatched) inside += `<path d="M5 11l8-8M11 11l8-8" stroke="${colour}"/>`;
  } else {
    const mode = trace.mode || "";
    if (mode.includes("lines")) {
      const dash = trace.line.dash === "dash" ? 'stroke-dasharray="5 3"' : "";
      inside += `<path d="M1 7h22" stroke="${trace.line.color}" stroke-width="${Math.min(trace.line.width, 7)}" ${dash}/>`;
    }
    if (mode.includes("markers") && !mode.includes("lines")) {
      const symbol = trace.marker.symbol || "circle";
      const open = symbol.endsWith("-open") || symbol.includes("thin") || symbol.includes("line-");
      const line = trace.marker.line || {};
      const stroke = open ? `fill="none" stroke="${line.color || trace.marker.color}" stroke-width="${Math.max(line.width || 0, 1.5)}"` : "";
      inside += shapes[symbol.replace(/-(open|wide|tall)/g, "")](open ? "none" : trace.marker.color, stroke.replace('fill="none" ', ""));
    }
  }
  return `<svg width="24" height="14" viewBox="0 0 24 14" fill="none" aria-hidden="true">${inside}</svg>`;
}

for (const plot of plots) {
  const figure = JSON.parse(document.getElementById(plot.id + "-data").textContent);
  if (window.innerWidth < 600 && !plot.parentElement.classList.contains("scroll")) narrow(figure.layout);
  plot.before(legend(plot, figure.data));
  Plotly.newPlot(plot, figure.data, figure.layout, options);
}

// Paper is narrower than a screen: draw once more at its width, and go back afterwards. meta.paper: the size of letters in a wide plot then.
const paper = 680;
const wide = (plot) => plot.parentElement.classList.contains("scroll");
function letters(plot, size, notes) {
  const smaller = plot.layout.meta && plot.layout.meta.paper;
  const each = smaller ? plot.layout.annotations.map((note, place) => [`annotations[${place}].font.size`, notes(note)]) : [];
  return { "xaxis.tickfont.size": size, ...Object.fromEntries(each) };
}
window.addEventListener("beforeprint", () => plots.forEach((plot) => {
  plot.onScreen = { tick: plot.layout.xaxis.tickfont && plot.layout.xaxis.tickfont.size, notes: (plot.layout.annotations || []).map((note) => note.font && note.font.size) };
  Plotly.relayout(plot, { width: paper, ...(wide(plot) && letters(plot, 7.5, () => plot.layout.meta.paper)) });
}));
window.addEventListener("afterprint", () => plots.forEach((plot) => {
  const notes = [...plot.onScreen.notes];
  Plotly.relayout(plot, { width: null, autosize: true, ...(wide(plot) && letters(plot, plot.onScreen.tick, () => notes.shift())) });
}));

// Tables that can be sorted: numbers first from the largest, texts from a to z; a second press turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    const body = table.tBodies[0];
    const value = (row) => row.cells[place].dataset.value;
    const numeric = body.rows[0] && value(body.rows[0]) !== undefined;
    const first = numeric ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? (numeric ? "ascending" : "descending") : first;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const compare = numeric
      ? (one, other) => value(one) - value(other)
      : (one, other) => one.cells[place].textContent.localeCompare(other.cells[place].textContent);
    const sign = order === "ascending" ? 1 : -1;
    body.append(...[...body.rows].sort((one, other) => sign * compare(one, other)));
  }));
}
for (const input of document.querySelectorAll("input[data-filter]")) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.getElementById(input.dataset.filter).tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // A page opened from a file may not be allowed the clipboard: select the text and use the old command.
      const range = document.createRange();
      range.selectNodeContents(source);
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (!document.execCommand("copy")) { button.textContent = "Press Ctrl+C"; return; }
      selection.removeAllRanges();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  });
}
