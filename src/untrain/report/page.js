"use strict";
(() => {
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const charts = [...document.querySelectorAll(".chart")].map((box) => ({
    box,
    spec: JSON.parse(box.parentElement.querySelector("script").textContent),
    hidden: new Set(),
    width: 0,
  }));

  function filled({ shape, size }, own) {
    if (shape === "hollow") return { color: colour("card"), line: { color: own, width: 1.5 } , pattern: {} };
    return { line: { color: own, width: shape ? 1 : 0 }, pattern: { shape, size, solidity: 0.45, bgcolor: colour("card") } };
  }

  // Colours and widths belong to the reader's screen, so they are put on here and again whenever it changes.
  function themed({ spec, hidden }, width) {
    const ink = colour("ink"), quiet = colour("quiet"), rule = colour("rule");
    const data = spec.data.map((trace) => {
      const own = colour(trace.meta.slot), bar = trace.type === "bar";
      return {
        ...trace,
        visible: !hidden.has(trace.meta.series),
        line: trace.line && { ...trace.line, color: own },
        error_y: trace.error_y && { ...trace.error_y, color: ink },
        marker: { ...trace.marker, color: own, ...(bar && filled(trace.marker.pattern, own)) },
        hoverlabel: { bgcolor: colour("card"), bordercolor: own, font: { color: ink } },
      };
    });
    const layout = {
      ...spec.layout, width, showlegend: false, dragmode: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: quiet },
      margin: { l: 8, r: 8, t: 8, b: 8 },
    };
    for (const key of Object.keys(layout).filter((k) => /^[xy]axis/.test(k))) {
      layout[key] = { fixedrange: true, automargin: true, gridcolor: rule, zeroline: key.startsWith("y"), zerolinecolor: quiet, zerolinewidth: 1, tickcolor: rule, ...layout[key] };
      layout[key].title = { ...layout[key].title, standoff: 8, font: { size: 12, color: quiet } };
    }
    if (spec.labels) {
      const longest = Math.max(...spec.labels.map((l) => l.length));
      const room = (width - 60) / spec.labels.length, turned = longest * 7 > room;
      const every = Math.ceil((turned ? 15 : 1) / room);
      const places = spec.labels.map((_, i) => i).filter((i) => i % every === 0);
      Object.assign(layout.xaxis, { showgrid: false, tickvals: places, ticktext: places.map((i) => spec.labels[i]), tickangle: turned ? -90 : 0, range: [-0.6, spec.labels.length - 0.4] });
      if (turned) layout.height += Math.min(longest, 22) * 5;
    }
    if (root.classList.contains("printed")) layout.height = Math.round(0.75 * layout.height);
    return [data, layout];
  }

  function draw(chart, width) {
    chart.width = width;
    Plotly.react(chart.box, ...themed(chart, width), { displayModeBar: false, responsive: false });
  }
  const all = () => charts.forEach((chart) => draw(chart, chart.box.clientWidth));

  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  const watch = new ResizeObserver((seen) => {
    for (const chart of charts.filter((c) => seen.some((s) => s.target === c.box))) {
      if (chart.box.clientWidth && chart.box.clientWidth !== chart.width) draw(chart, chart.box.clientWidth);
    }
  });
  charts.forEach((chart) => watch.observe(chart.box));

  // On paper: light, and as wide as the sheet. The class lays the page out before the charts are measured.
  addEventListener("beforeprint", () => { root.classList.add("printed"); all(); });
  addEventListener("afterprint", () => { root.classList.remove("printed"); all(); });

  for (const chart of charts) {
    chart.box.parentElement.querySelectorAll(".key").forEach((key, series) => key.addEventListener("click", () => {
      const on = chart.hidden.delete(series);
      if (!on) chart.hidden.add(series);
      key.setAttribute("aria-pressed", String(on));
      draw(chart, chart.width);
    }));
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
