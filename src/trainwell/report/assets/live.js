"use strict";
// Asks every two seconds whether a run has changed, and takes the new page in place, without losing the reader's place.
(() => {
  const address = document.body.dataset.refresh;
  let last = null;
  async function look() {
    try {
      const stamp = await (await fetch(address)).text();
      if (last !== null && stamp !== last) {
        const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
        const open = [...document.querySelectorAll("details")].map((d) => d.open);
        document.querySelector("main").replaceWith(fresh.querySelector("main"));
        document.querySelectorAll("details").forEach((d, i) => { d.open = open[i] || false; });
        document.querySelectorAll("script.chart-data").forEach((s) => s.remove());
        document.body.append(...fresh.querySelectorAll("script.chart-data"));
        globalThis.trainwellCharts();
      }
      last = stamp;
    } catch { /* the server has ended: the page stays as it is */ }
    setTimeout(look, 2000);
  }
  look();
})();
