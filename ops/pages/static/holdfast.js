/* What moves on the operators' pages: parts that are renewed, rows that are reached by keys, selections.
   No page needs it to be read or to act: every action is a link and a form. */
(function () {
  "use strict";

  var main = document.getElementById("main-content");
  var state = document.getElementById("live-state");
  var away = document.getElementById("away");

  /* -- parts that are renewed ------------------------------------------------------------------------------------ */

  var every = Number(main.dataset.live || 0) * 1000;
  var timer = null, asking = null, stopped = false, failures = 0, shown = {};

  function tell() {
    if (!state || !every) { return; }
    state.textContent = stopped ? "renewing stopped" : "live, every " + every / 1000 + " s";
    state.classList.toggle("on", !stopped);
  }

  function later() {
    window.clearTimeout(timer);
    if (every && !stopped && !document.hidden) {
      // After failures less and less often, and never all browsers at once.
      // What the page did not wait for follows at once.
      var usual = document.querySelector("[data-pending]") && !failures ? 1000 : every;
      var wait = Math.min(60000, usual * Math.pow(2, Math.min(failures, 5)));
      timer = window.setTimeout(renew, wait * (0.9 + 0.2 * Math.random()));
    }
  }

  function busy(element) {
    var active = document.activeElement, chosen = window.getSelection();
    return (element.contains(active) && active.matches("input, select, textarea")) ||
      (chosen && !chosen.isCollapsed && element.contains(chosen.anchorNode));
  }

  // What a renewed part must not lose: where the focus is, what is open, how far it is scrolled.
  function remember(element) {
    var active = element.contains(document.activeElement) ? document.activeElement : null, kept = { open: {}, scroll: {} };
    var inside = active && active.closest("[data-keep]");
    kept.had = active !== null;
    kept.href = active && active.getAttribute("href");
    kept.action = active && active.getAttribute("data-action");
    kept.within = inside && inside.dataset.keep;
    element.querySelectorAll("[data-keep]").forEach(function (part) {
      if (part.tagName === "DETAILS") { kept.open[part.dataset.keep] = part.open; }
      else { kept.scroll[part.dataset.keep] = [part.scrollLeft, part.scrollTop]; }
    });
    return kept;
  }

  function restore(element, kept) {
    element.querySelectorAll("[data-keep]").forEach(function (part) {
      var key = part.dataset.keep;
      if (part.tagName === "DETAILS") { if (key in kept.open) { part.open = kept.open[key]; } }
      else if (kept.scroll[key]) { part.scrollLeft = kept.scroll[key][0]; part.scrollTop = kept.scroll[key][1]; }
    });
    if (!kept.had) { return; }
    var same = Array.prototype.find.call(element.querySelectorAll("a, [data-keep]"), function (one) {
      if (kept.action) { return one.getAttribute("data-action") === kept.action; }
      return kept.href ? one.getAttribute("href") === kept.href : one.dataset.keep === kept.within;
    });
    if (same && same.tagName === "DETAILS") { same = same.querySelector("summary"); }
    (same || main).focus({ preventScroll: true });
  }

  function put(parts) {
    Object.keys(parts).forEach(function (id) {
      var element = document.getElementById(id);
      // Whoever types or marks text in a part keeps it as it is; an unchanged part is left alone, too.
      if (!element || shown[id] === parts[id] || busy(element)) { return; }
      var before = remember(element);
      // Made by our own templates, which escape everything.
      element.innerHTML = parts[id];
      shown[id] = parts[id];
      restore(element, before);
    });
    mark(at);
  }

  function renew() {
    if (asking) { return; }
    var address = new URL(window.location.href);
    address.searchParams.set("live", "1");
    asking = new AbortController();
    var patience = window.setTimeout(function () { asking.abort(); }, 15000);
    fetch(address, { headers: { "Accept": "application/json" }, credentials: "same-origin", signal: asking.signal })
      .then(function (answer) { return answer.json(); })
      .then(function (said) {
        failures = said.error ? failures + 1 : 0;
        away.hidden = !said.error;
        away.textContent = said.error || "";
        if (said.parts) { put(said.parts); }
      })
      .catch(function () {
        failures += 1;
        away.hidden = false;
        away.textContent = "Flower does not answer; what you see is old. Still trying.";
      })
      .finally(function () { window.clearTimeout(patience); asking = null; later(); });
  }

  document.addEventListener("visibilitychange", function () {
    window.clearTimeout(timer);
    if (!document.hidden && every && !stopped) { renew(); }
  });
  tell();
  later();

  /* -- rows and keys --------------------------------------------------------------------------------------------- */

  var at = -1, g = 0;

  function rows() { return Array.prototype.slice.call(document.querySelectorAll("[data-row]")); }

  function mark(place) {
    var all = rows();
    at = Math.max(-1, Math.min(place, all.length - 1));
    all.forEach(function (row, number) { row.classList.toggle("at", number === at); });
    return all[at];
  }

  function move(by) {
    var row = mark(Math.max(0, at + by));
    if (row) { row.scrollIntoView({ block: "nearest" }); }
  }

  var places = { o: "holdfast/", r: "holdfast/runs", d: "holdfast/dead-letters", l: "holdfast/locks", a: "holdfast/audit" };

  function go(where) {
    var link = Array.prototype.find.call(document.querySelectorAll(".app-nav a"), function (a) {
      return a.pathname.replace(/\/\??$/, "").endsWith(where.replace(/\/$/, ""));
    });
    if (link) { window.location.href = link.href; }
  }

  var help = document.getElementById("keys");
  document.getElementById("keys-help").addEventListener("click", function () { help.showModal(); });

  document.addEventListener("keydown", function (event) {
    var typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) { return; }
    if (g && Date.now() - g < 1200 && places[event.key]) { event.preventDefault(); g = 0; go(places[event.key]); return; }
    g = 0;
    var row = rows()[at];
    switch (event.key) {
      case "g": g = Date.now(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "x": { var box = row && row.querySelector("input[type=checkbox]"); if (box) { box.click(); } break; }
      case "Enter": {
        var open = row && !event.target.closest("a, button, summary") && row.querySelector("[data-open]");
        if (open) { event.preventDefault(); open.click(); }
        break;
      }
      case "/": { var field = document.querySelector("[data-search]"); if (field) { event.preventDefault(); field.focus(); } break; }
      case "n": { var next = document.querySelector("a[rel=next]"); if (next) { next.click(); } break; }
      case "p": stopped = !stopped; tell(); if (!stopped) { renew(); } else { window.clearTimeout(timer); } break;
      case "?": help.showModal(); break;
    }
  });

  /* -- selections ------------------------------------------------------------------------------------------------ */

  var boxes = Array.prototype.slice.call(document.querySelectorAll("input[name=id][type=checkbox]"));
  var every_box = document.querySelector("[data-select-all]");

  function count() {
    var chosen = boxes.filter(function (box) { return box.checked; }).length;
    document.querySelectorAll("[data-needs-selection]").forEach(function (button) {
      button.disabled = chosen === 0;
      button.dataset.label = button.dataset.label || button.textContent;
      button.textContent = button.dataset.label + (chosen ? " (" + chosen + ")" : "");
    });
    if (every_box) { every_box.checked = chosen > 0 && chosen === boxes.length; every_box.indeterminate = chosen > 0 && chosen < boxes.length; }
  }

  boxes.forEach(function (box) { box.addEventListener("change", count); });
  if (every_box) {
    every_box.addEventListener("change", function () { boxes.forEach(function (box) { box.checked = every_box.checked; }); count(); });
  }
  count();

  /* -- forms: once is enough -------------------------------------------------------------------------------------- */

  document.querySelectorAll("form[method=post]").forEach(function (form) {
    form.addEventListener("submit", function () {
      window.setTimeout(function () { form.querySelectorAll("[data-confirm]").forEach(function (button) { button.disabled = true; }); }, 0);
    });
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("[data-confirm]").forEach(function (button) { button.disabled = false; });
  });
}());
