// The run: parsed frames, the frame shown, colours, and small helpers. Everything a peer sent is
// put into the page as text (textContent, fillText), never as markup.

const byId = (id) => document.getElementById(id);

function report(text) {
  document.documentElement.dataset.error = text;
  byId('problem').hidden = false;
  byId('problem').textContent = `This page failed: ${text}`;
}
addEventListener('error', (event) => report(event.message || 'unknown error'));
addEventListener('unhandledrejection', (event) => report(String(event.reason)));
document.addEventListener('securitypolicyviolation', (event) => report(
  `blocked by the page's own policy: ${event.violatedDirective}`));

const frames = Array.from(document.querySelectorAll('script.frame'), (element) => {
  const frame = JSON.parse(element.textContent);
  frame.tracked = frame.cooperative !== null;
  frame.cooperative ??= [];
  element.remove();
  return frame;
});
const summary = JSON.parse(byId('summary').textContent);

const state = {
  index: 0,
  playing: false,
  speed: 1,
  layers: {},
  view: 'ego',
  zoom: 1,
  pan: [0, 0],
  picked: null, // {kind, id}
};

// A scene starts where the sequence changes; trails and the origin of coordinates restart there.
const scenes = [];
frames.forEach((frame, index) => {
  const last = scenes[scenes.length - 1];
  if (!last || last.sequence !== frame.sequence) {
    scenes.push({ sequence: frame.sequence, first: index, last: index,
      origin: [frame.pose[3], frame.pose[7], frame.pose[11]], pose: frame.pose });
  } else {
    last.last = index;
  }
  frame.scene = scenes[scenes.length - 1];
});

/** Ego-frame point of a frame to scene coordinates: x, y in metres from the scene's origin. */
function toScene(frame, x, y, z) {
  const [a, b, c, tx, d, e, f, ty] = frame.pose;
  const [ox, oy] = frame.scene.origin;
  return [a * x + b * y + c * z + tx - ox, d * x + e * y + f * z + ty - oy];
}

const headingOf = (pose) => Math.atan2(pose[4], pose[0]);

/** Eight corners of [x, y, z, length, width, height, yaw, ...] in the frame of the box:
 *  bottom counter-clockwise from front-left, then top. */
function corners(box) {
  const [x, y, z, length, width, height, yaw] = box;
  const c = Math.cos(yaw), s = Math.sin(yaw), points = [];
  for (const up of [-0.5, 0.5]) {
    for (const [along, left] of [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) {
      const l = along * length, w = left * width;
      points.push([x + c * l - s * w, y + s * l + c * w, z + up * height]);
    }
  }
  return points;
}

// Agents keep the colour of the order in which they first appear; the ego is number 0.
const agentNumbers = new Map();
for (const frame of frames) {
  for (const agent of frame.agents) {
    if (agent.ego) agentNumbers.set(agent.id, 0);
  }
}
let nextAgent = 0;
function countAgent(id) {
  if (!agentNumbers.has(id)) agentNumbers.set(id, 1 + (nextAgent++ % 5));
}
for (const frame of frames) {
  frame.agents.forEach((agent) => countAgent(agent.id));
  frame.messages.forEach((message) => countAgent(message.agent));
}

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ['text', 'dim', 'panel', 'ground', 'grid', 'ring', 'line', 'accent', 'truth',
    'ego-only', 'cooperative', 'added', 'agent-0', 'agent-1', 'agent-2', 'agent-3', 'agent-4',
    'agent-5', 'alone-ego', 'alone-remote', 'map-drivable', 'map-lane', 'map-vehicle', 'map-ego',
    'map-both', 'map-others', 'map-nobody', 'map-gained', 'map-lost', 'map-same'];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  colours.lift = matchMedia('(prefers-color-scheme: dark)').matches ? 22 : 0;
}
readColours();
const agentColour = (id) => colours[`agent-${agentNumbers.get(id) ?? 1}`];

/** A hue per track id: golden-angle steps, dark enough for a light page. */
function idColour(id, lightness) {
  let hash = 0;
  for (const character of String(id)) hash = (hash * 31 + character.charCodeAt(0)) >>> 0;
  return `hsl(${(hash * 137.508) % 360} 75% ${lightness ?? 42}%)`;
}

/** Colours of `cooptrack picture`: golden steps that leave out green and blue. */
function pairColour(id) {
  if (!(id >= 0)) return colours.dim;
  const hue = (280 + 130 * (id * 0.6180339887 % 1)) % 360;
  return `hsl(${hue} 85% ${[34, 50, 42][id % 3] + colours.lift}%)`;
}

function element(tag, options, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options || {})) {
    if (key === 'text') node.textContent = value;
    else if (key === 'colour') node.style.color = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** Names from the air may be long or hold control characters; show what fits. */
function short(text, length = 28) {
  const clean = String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
  return clean.length > length ? `${clean.slice(0, length - 1)}…` : clean;
}

function number(value, digits) {
  return value === null || value === undefined ? '–' : Number(value).toFixed(digits);
}

function bytes(value) {
  if (value < 1000) return `${Math.round(value)} B`;
  return value < 1e6 ? `${(value / 1000).toFixed(1)} kB` : `${(value / 1e6).toFixed(2)} MB`;
}

/** Fit a canvas to its box at the screen's density; its context then draws in CSS pixels. */
function prepare(canvas) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

/** The next height at which a label at x covers none of those placed before; remembers it. */
function freeLine(placed, x, y, most = 6) {
  for (let tries = 0; tries < most; tries++) {
    if (!placed.some(([px, py]) => Math.abs(px - x) < 20 && Math.abs(py - y) < 11)) break;
    y += 11;
  }
  placed.push([x, y]);
  return y;
}

/** The layers, in the order of their keys 1, 2, ...; chips of the legend and switches at once. */
const tracked = frames.some((frame) => frame.tracked);
const layers = [
  { key: 'truth', hint: 'Labelled objects',
    name: 'Ground truth', mark: 'truth' },
  { key: 'hidden', hint: 'Labelled objects without a pixel in the ego camera that a remote agent sees',
    name: 'Hidden from ego', mark: 'hidden' },
  { key: 'ego_only', hint: 'Tracks of the vehicle alone',
    name: 'Ego only', mark: 'ego-only' },
  { key: 'cooperative', hint: 'Tracks with messages of remote agents; thin: score below 0.5',
    name: 'Cooperative', mark: 'cooperative' },
  { key: 'added', hint: 'Cooperative tracks on objects hidden from the ego camera',
    name: 'Added by cooperation', mark: 'added' },
  { key: 'trails', hint: 'The last five seconds of cooperative tracks',
    name: 'Trails', mark: 'trail' },
  { key: 'velocity', hint: 'Where a track will be in one second',
    name: 'Velocity', mark: 'velocity' },
  { key: 'ids', hint: 'Track ids',
    name: 'Ids', mark: 'ids' },
  { key: 'links', hint: 'From a track to the remote agents it rests on',
    name: 'Links', mark: 'link' },
  { key: 'views', hint: 'Fields of view of the cameras',
    name: 'Views', mark: 'views' },
  { key: 'boxes', hint: 'Boxes projected into the images',
    name: 'Image boxes', mark: 'box' },
  { key: 'association', hint: 'Pairs of instances by track id; instances without a partner: blue of the vehicle, green of others; key a',
    name: 'Pairs', mark: 'pair', off: true },
  { key: 'by_id', hint: 'Colour cooperative tracks by id, to see ids switch',
    name: 'By id', mark: 'by-id', off: true },
  { key: 'map', hint: 'Semantic map around the ego', name: 'Map', mark: 'map' },
  { key: 'map_vehicle', hint: 'Vehicles of the map', name: 'Vehicles', mark: 'map-vehicle' },
  { key: 'map_drivable', hint: 'Drivable area of the map', name: 'Drivable', mark: 'map-drivable' },
  { key: 'map_lane', hint: 'Lane lines of the map', name: 'Lanes', mark: 'map-lane' },
].filter(({ key }) => (key.startsWith('map') ? frames.some((frame) => frame.map)
  : tracked || ['truth', 'views', 'boxes'].includes(key)));
for (const layer of layers) state.layers[layer.key] = !layer.off && (tracked || layer.key !== 'views');

/** What is drawn, last on top: [object, style name]. */
function visibleObjects(frame) {
  const shown = [];
  for (const object of frame.truth || []) {
    if (state.layers[object.hidden ? 'hidden' : 'truth']) {
      shown.push([object, object.hidden ? 'hidden' : 'truth']);
    }
  }
  if (state.layers.ego_only) for (const object of frame.ego_only || []) shown.push([object, 'ego-only']);
  for (const object of frame.cooperative) {
    const kind = object.added ? 'added' : 'cooperative';
    if (state.layers[kind]) shown.push([object, kind]);
  }
  return shown.sort((a, b) => (a[1] === 'added') - (b[1] === 'added'));
}
/** Unsure tracks are drawn thinly, unless they show a hidden object that is there. */
const isFaint = (object, kind) => kind === 'cooperative' && object.unsure;
const isPicked = (object, kind) => state.picked !== null && state.picked.id === object.id
  && (state.picked.kind === kind || (state.picked.kind.startsWith('c') && kind === 'added')
    || (state.picked.kind === 'added' && kind === 'cooperative'));
