// Controls, playing, keys, and the start.

const VIEWS = ['ego', 'fixed', 'scene'];

/** A frame by index; the page shows it at once, images follow when decoded. */
function seek(index) {
  state.index = Math.max(0, Math.min(frames.length - 1, Math.round(index)));
  draw();
}

/** The frame that is on at a time of the page, s. */
function indexAt(time) {
  let index = 0;
  while (index + 1 < frames.length && frames[index + 1].time <= time + 1e-6) index++;
  return index;
}

function draw() {
  const frame = frames[state.index];
  if (!frame) return;
  byId('scrub').value = state.index;
  byId('scrub').setAttribute('aria-valuetext', `${frame.time.toFixed(1)} seconds`);
  byId('clock').textContent = `${frame.time.toFixed(1)} / ${frames[frames.length - 1].time.toFixed(1)} s`;
  byId('clock').title = `frame ${frame.frame} of ${frame.sequence}, stamp ${frame.stamp} ns`;
  drawScene();
  drawCameras();
  drawCounts();
  drawMapKey();
  drawPicked();
  drawCharts();
  const count = counts[state.index];
  Object.assign(document.documentElement.dataset, { frame: state.index, stamp: frame.stamp,
    time: frame.time, cooperative: count.cooperative, added: count.added });
}

let clock = null; // [time of the screen, time of the page] where playing started
function setPlaying(playing) {
  if (playing && state.index === frames.length - 1) seek(0);
  state.playing = playing && frames.length > 1;
  clock = null;
  byId('play').textContent = state.playing ? '❚❚' : '▶';
  byId('play').setAttribute('aria-label', state.playing ? 'Pause' : 'Play');
  if (state.playing) requestAnimationFrame(tick);
}

function tick(now) {
  if (!state.playing) return;
  clock ??= [now, frames[state.index].time];
  const index = indexAt(clock[1] + (now - clock[0]) / 1000 * state.speed);
  if (index !== state.index) seek(index);
  if (state.index === frames.length - 1) setPlaying(false);
  else requestAnimationFrame(tick);
}

function jump(index) {
  seek(index);
  clock = null; // playing goes on from here
}

function zoom(factor, at) {
  const before = state.zoom;
  state.zoom = Math.max(0.2, Math.min(20, before * factor));
  const x = (at ? at[0] : sceneCanvas.clientWidth / 2) - sceneCanvas.clientWidth / 2;
  const part = state.view === 'ego' ? 0.6 : 0.5;
  const y = (at ? at[1] : sceneCanvas.clientHeight * part) - sceneCanvas.clientHeight * part;
  const ratio = state.zoom / before;
  state.pan = [x - (x - state.pan[0]) * ratio, y - (y - state.pan[1]) * ratio];
  drawScene();
}

function resetView() {
  state.zoom = 1;
  state.pan = [0, 0];
  drawScene();
}

function setView(view) {
  state.view = view;
  byId('view').value = view;
  resetView();
}

function toggleLayer(key) {
  state.layers[key] = !state.layers[key];
  byId(`layer-${key}`).setAttribute('aria-pressed', state.layers[key]);
  draw();
}

function pick(object) {
  state.picked = object;
  draw();
}

// The legend: a small drawing per layer, in the colours of the canvas.
const SVG = 'http://www.w3.org/2000/svg';
function mark(kind) {
  const svg = document.createElementNS(SVG, 'svg');
  const add = (tag, attributes, style) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    for (const [key, value] of Object.entries(style)) node.style.setProperty(key, value);
    svg.append(node);
  };
  for (const [key, value] of Object.entries({ width: 24, height: 14, viewBox: '0 0 24 14', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  const box = { x: 2, y: 2, width: 20, height: 10 };
  const line = (d, colour, more) => add('path', { d, fill: 'none', 'stroke-width': 1.8, ...more }, { stroke: colour });
  if (kind === 'truth') add('rect', { ...box, 'fill-opacity': 0.25 }, { fill: 'var(--truth)', stroke: 'var(--truth)' });
  else if (kind === 'hidden') {
    add('rect', { ...box, 'fill-opacity': 0.1 }, { fill: 'var(--truth)', stroke: 'var(--truth)' });
    line('M4 12 12 3M10 12 18 3M16 12 22 5', 'var(--truth)', { 'stroke-width': 1.2 });
  } else if (kind === 'ego-only') add('rect', { ...box, fill: 'none', 'stroke-width': 2, 'stroke-dasharray': '4 2.5' }, { stroke: 'var(--ego-only)' });
  else if (kind === 'cooperative') add('rect', { ...box, fill: 'none', 'stroke-width': 2.2 }, { stroke: 'var(--cooperative)' });
  else if (kind === 'added') add('rect', { ...box, 'fill-opacity': 0.3, 'stroke-width': 3 }, { fill: 'var(--added)', stroke: 'var(--added)' });
  else if (kind === 'trail') line('M1 11C8 10 10 4 23 3', 'var(--cooperative)', { 'stroke-opacity': 0.6 });
  else if (kind === 'velocity') line('M2 7H20M15 3l6 4-6 4', 'var(--cooperative)');
  else if (kind === 'link') line('M2 7H23', 'var(--agent-1)', { 'stroke-dasharray': '0.1 4', 'stroke-linecap': 'round', 'stroke-width': 2.4 });
  else if (kind === 'views') add('path', { d: 'M2 7 22 1V13Z', 'fill-opacity': 0.2 }, { fill: 'var(--agent-1)', stroke: 'var(--agent-1)' });
  else if (kind === 'box') line('M2 5h13v8H2ZM2 5l6-4h13l-6 4M21 1v8l-6 4', 'var(--text)', { 'stroke-width': 1.1 });
  else if (kind === 'pair') {
    line('M5.5 7H17', 'var(--added)', { 'stroke-width': 2.2 });
    add('circle', { cx: 5.5, cy: 7, r: 4, 'stroke-width': 2 }, { fill: 'var(--panel)', stroke: 'var(--added)' });
    add('path', { d: 'M18 2 23 7 18 12 13 7Z' }, { fill: 'var(--added)' });
  } else if (kind === 'map') {
    add('path', { d: 'M2 13 8 1H16L22 13Z', 'fill-opacity': 0.5 }, { fill: 'var(--map-drivable)' });
    line('M12 2V12', 'var(--map-lane)', { 'stroke-dasharray': '3 2' });
  } else if (kind.startsWith('map-')) add('rect', { x: 5, y: 2, width: 14, height: 10 }, { fill: `var(--${kind})` });
  else if (kind === 'by-id') [[2, 200], [9, 30], [16, 320]].forEach(([x, hue]) => add('rect', { x, y: 3, width: 6, height: 8 }, { fill: `hsl(${hue} 75% 45%)` }));
  else line('M5 2v10M9 2v10M2 5h10M2 9h10', 'var(--text)', { 'stroke-width': 1.2 });
  return svg;
}

layers.forEach((layer, index) => {
  const noLabels = layer.key === 'added' && !hiddenKnown;
  const method = { ego_only: ` (${summary.methods[0]})`, cooperative: ` (${summary.methods[1]})` }[layer.key] ?? '';
  const hint = noLabels ? 'Tracks that rest on remote agents alone' : layer.hint + method;
  const button = element('button', { type: 'button', id: `layer-${layer.key}`, 'aria-pressed': String(state.layers[layer.key]),
    title: index < 9 ? `${hint}; key ${index + 1}` : hint },
  mark(layer.mark), noLabels ? 'Remote alone' : layer.name);
  button.addEventListener('click', () => toggleLayer(layer.key));
  byId('layers').append(button);
});

byId('play').addEventListener('click', () => setPlaying(!state.playing));
byId('back').addEventListener('click', () => jump(state.index - 1));
byId('forward').addEventListener('click', () => jump(state.index + 1));
byId('scrub').addEventListener('input', (event) => jump(Number(event.target.value)));
byId('speed').addEventListener('change', (event) => { state.speed = Number(event.target.value); clock = null; });
byId('view').addEventListener('change', (event) => setView(event.target.value));
byId('zoom-in').addEventListener('click', () => zoom(1.3));
byId('zoom-out').addEventListener('click', () => zoom(1 / 1.3));
byId('zoom-reset').addEventListener('click', resetView);

const second = (direction) => indexAt(frames[state.index].time + direction);
const KEYS = {
  ' ': () => setPlaying(!state.playing),
  ArrowLeft: (event) => jump(event.shiftKey ? second(-1) : state.index - 1),
  ArrowRight: (event) => jump(event.shiftKey ? second(1) : state.index + 1),
  Home: () => jump(0),
  End: () => jump(frames.length - 1),
  '+': () => zoom(1.3),
  '=': () => zoom(1.3),
  '-': () => zoom(1 / 1.3),
  0: resetView,
  v: () => setView(VIEWS[(VIEWS.indexOf(state.view) + 1) % VIEWS.length]),
  a: () => toggleLayer('association'),
  m: () => setMapMode(mapModes[(mapModes.indexOf(state.mapMode) + 1) % mapModes.length]),
  Escape: () => pick(null),
};
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !frames.length) return;
  if (event.target.tagName === 'SELECT') return;
  if (event.target.tagName === 'BUTTON' && event.key === ' ') return; // the button's own key
  if ((event.key === 'a' && !tracked) || (event.key === 'm' && !mapsKnown)) return;
  const layer = /^[1-9]$/.test(event.key) ? layers[Number(event.key) - 1] : null;
  const action = layer ? () => toggleLayer(layer.key) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event);
});

for (const id of ['rate', 'found']) {
  const canvas = byId(id);
  const go = (event) => {
    if (!event.buttons && event.type === 'pointermove') return;
    const part = (event.offsetX - 52) / (canvas.clientWidth - 60);
    jump(indexAt(part * frames[frames.length - 1].time));
  };
  canvas.addEventListener('pointerdown', go);
  canvas.addEventListener('pointermove', go);
}

// One pointer pans (or picks, when it does not move), two pinch, the wheel zooms.
const pointers = new Map();
let moved = false;
sceneCanvas.addEventListener('pointerdown', (event) => {
  sceneCanvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  if (pointers.size === 1) moved = false;
});
sceneCanvas.addEventListener('pointermove', (event) => {
  const old = pointers.get(event.pointerId);
  if (!old) return;
  const here = [event.offsetX, event.offsetY];
  if (!moved && Math.hypot(here[0] - old[0], here[1] - old[1]) < 4) return;
  moved = true;
  if (pointers.size === 1) {
    state.pan = [state.pan[0] + here[0] - old[0], state.pan[1] + here[1] - old[1]];
    drawScene();
  } else {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    zoom(length(here) / Math.max(1, length(old)), [(here[0] + other[0]) / 2, (here[1] + other[1]) / 2]);
  }
  pointers.set(event.pointerId, here);
});
for (const type of ['pointerup', 'pointercancel']) {
  sceneCanvas.addEventListener(type, (event) => {
    const known = pointers.delete(event.pointerId);
    if (known && type === 'pointerup' && !moved) pick(objectAt(event.offsetX, event.offsetY));
  });
}
sceneCanvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.0015), [event.offsetX, event.offsetY]);
}, { passive: false });

function seekToFragment() {
  const match = /(?:^#|&)t=([\d.]+)/.exec(location.hash);
  if (match) jump(indexAt(Number(match[1])));
  const shown = /[#&]show=([\w,]+)/.exec(location.hash);
  const map = /[#&]map=(\w+)/.exec(location.hash);
  if (map && mapModes.includes(map[1])) setMapMode(map[1]);
  for (const key of shown ? shown[1].split(',') : []) {
    if (state.layers[key] === false) toggleLayer(key);
  }
}

function start() {
  fillTables();
  byId('found-box').hidden = !tracked;
  if (!frames.length) {
    byId('headline').textContent = 'This run had no frames.';
    for (const id of ['stage', 'layers', 'player', 'charts']) byId(id).hidden = true;
    document.documentElement.dataset.ready = 'true';
    return;
  }
  const agents = [...agentNumbers.keys()];
  const parts = [`${frames.length} frames`, `${frames[frames.length - 1].time.toFixed(1)} s`,
    agents.slice(0, 8).map((id) => short(id, 20) + (agentNumbers.get(id) === 0 ? ' (ego)' : '')).join(' + ')
      + (agents.length > 8 ? ` + ${agents.length - 8} more` : '')];
  const [alone, together] = summary.methods.map((name) => summary.metrics?.methods?.[name]?.hidden_recall);
  if (typeof together === 'number') {
    parts.push(`hidden recall ${together.toFixed(2)}${typeof alone === 'number' ? `, ego alone ${alone.toFixed(2)}` : ''}`);
  }
  if (scenes.length > 1) parts.push(`${scenes.length} scenes`);
  if (summary.images_left_out) parts.push(`${summary.images_left_out} images left out to keep the page small`);
  if (summary.maps_left_out) parts.push(`${summary.maps_left_out} maps left out to keep the page small`);
  byId('headline').textContent = parts.join(' · ');
  byId('scrub').max = frames.length - 1;
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); draw(); });
  new ResizeObserver(() => draw()).observe(byId('stage'));
  addEventListener('hashchange', seekToFragment);
  seek(0);
  seekToFragment();
  document.documentElement.dataset.ready = 'true';
}

// For tests and for the curious in the browser's console.
const place = (x, y) => sceneView(frames[state.index], sceneCanvas.clientWidth, sceneCanvas.clientHeight)
  .at(toScene(frames[state.index], x, y, 0));
window.cooptrackReport = Object.freeze({ frames, summary, state, counts, rates, seek, project, indexAt,
  messageStatistics, objectAt, place, setView });
start();
