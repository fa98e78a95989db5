// Semantic maps under the bird's-eye view: decoding, colours by class, source or change.

const MAP_MODES = { class: 'Map: classes', source: 'Map: whose maps', gain: 'Map: what cooperation changed',
  alone: 'Map: ego alone', truth: 'Map: ground truth' };
const MAP_SOURCES = ['nobody', 'ego', 'others', 'both'];

/** Bytes of the cells of a map, row by row, from pairs (value, length). */
function unpackRuns(text, size) {
  const pairs = atob(text), cells = new Uint8Array(size);
  let at = 0;
  for (let k = 0; k < pairs.length; k += 2) {
    const end = at + pairs.charCodeAt(k + 1);
    cells.fill(pairs.charCodeAt(k), at, end);
    at = end;
  }
  if (at !== size) throw new Error(`a map has ${at} cells instead of ${size}`);
  return cells;
}

/** [red, green, blue] of '#rrggbb'. */
const rgb = (colour) => [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));

/** What one cell shows: [name of a colour, opacity 0 to 255], or null. Bits: encode_map.py. */
function cellPaint(value, truth, mode) {
  const layer = (ground, vehicle) => {
    if (vehicle && state.layers.map_vehicle) return 'vehicle';
    if (ground === 2 && state.layers.map_lane) return 'lane';
    return ground && state.layers.map_drivable ? 'drivable' : null;
  };
  const fused = layer(value & 3, value & 4), alone = layer((value >> 5) & 3, value & 128);
  const strength = { vehicle: 235, lane: 210, drivable: 110 };
  if (mode === 'source') {
    const source = MAP_SOURCES[(value >> 3) & 3];
    if (source === 'nobody') return fused ? ['map-nobody', strength[fused] / 2] : null;
    return [`map-${source}`, fused ? strength[fused] : 26];
  }
  if (mode === 'gain') {
    if (fused === alone) return fused ? ['map-same', strength[fused] / 2] : null;
    return fused && (!alone || strength[fused] > strength[alone])
      ? ['map-gained', strength[fused]] : ['map-lost', strength[alone || fused]];
  }
  const shown = mode === 'truth' ? layer(truth & 3, truth & 4) : mode === 'alone' ? alone : fused;
  return shown ? [`map-${shown}`, strength[shown]] : null;
}

const mapsKnown = frames.some((frame) => frame.map);
const mapModes = Object.keys(MAP_MODES).filter((mode) => mapsKnown && (mode === 'class' || mode === 'source'
  || frames.some((frame) => frame.map && (mode === 'truth' ? frame.map.truth !== null : frame.map.alone))));
state.mapMode = 'class';

const mapCanvas = document.createElement('canvas');
let mapShown = ''; // what the canvas holds

/** Paint the map of a frame into its own canvas, one pixel per cell; false if there is none. */
function paintMap(frame) {
  const { map } = frame;
  if (!map || (state.mapMode === 'truth' && map.truth === null)) return false;
  const key = JSON.stringify([frames.indexOf(frame), state.mapMode, state.layers.map_vehicle,
    state.layers.map_lane, state.layers.map_drivable, colours.ground]);
  if (key === mapShown) return true;
  const size = map.rows * map.columns;
  const cells = unpackRuns(map.cells, size);
  const truth = map.truth === null ? null : unpackRuns(map.truth, size);
  mapCanvas.width = map.columns;
  mapCanvas.height = map.rows;
  const context = mapCanvas.getContext('2d');
  const image = context.createImageData(map.columns, map.rows);
  const known = new Map();
  for (let k = 0; k < size; k++) {
    const kind = cells[k] | (truth ? truth[k] << 8 : 0);
    let paint = known.get(kind);
    if (paint === undefined) {
      const found = cellPaint(cells[k], truth ? truth[k] : 0, state.mapMode);
      paint = found && [...rgb(colours[found[0]]), found[1]];
      known.set(kind, paint);
    }
    if (paint) image.data.set(paint, 4 * k);
  }
  context.putImageData(image, 0, 0);
  mapShown = key;
  return true;
}

/** Draw the map under everything else; its corners are in the ego's frame. */
function drawMap(context, view, frame) {
  if (!state.layers.map || !paintMap(frame)) return;
  const [front, right, rear] = frame.map.corners.map((corner) => view.at(toScene(frame, ...corner)));
  const { rows, columns } = frame.map;
  context.save();
  context.imageSmoothingEnabled = false;
  context.transform((right[0] - front[0]) / columns, (right[1] - front[1]) / columns,
    (rear[0] - front[0]) / rows, (rear[1] - front[1]) / rows, ...front);
  context.drawImage(mapCanvas, 0, 0);
  context.restore();
}

/** What the colours mean, for the mode that is on. */
const MAP_KEYS = {
  source: [['map-ego', "ego's map alone"], ['map-both', "ego's and others'"], ['map-others', "others' maps alone"]],
  gain: [['map-gained', 'only with cooperation'], ['map-lost', 'only the ego alone'], ['map-same', 'in both']],
};
const CLASS_KEYS = [['map-vehicle', 'vehicle'], ['map-drivable', 'drivable'], ['map-lane', 'lane']];

function drawMapKey() {
  if (!mapsKnown) return;
  const { map } = frames[state.index];
  const entries = MAP_KEYS[state.mapMode] ?? CLASS_KEYS.filter(([, name]) => !map || map.classes.includes(name)
    || state.mapMode === 'truth');
  byId('map-key').replaceChildren(...entries.map(([colour, text]) => element('span', {},
    element('i', { colour: colours[colour] }), text)));
  byId('map-key').hidden = !state.layers.map;
}

function setMapMode(mode) {
  state.mapMode = mode;
  byId('map-mode').value = mode;
  draw();
}

if (mapsKnown) {
  byId('map-mode').append(...mapModes.map((mode) => element('option', { value: mode, text: MAP_MODES[mode] })));
  byId('map-mode').addEventListener('change', (event) => setMapMode(event.target.value));
  byId('map-mode').hidden = false;
  byId('stage').classList.toggle('low', tracked); // a second row of layers
}

/** IoU of the maps and what they cost on the air. */
function mapsTable() {
  const maps = summary.metrics?.maps;
  if (!maps) return;
  const keys = ['vehicle', 'drivable', 'lane'];
  const rows = Object.entries(maps.methods).map(([name, found]) => element('tr', {},
    element('td', { text: name.replaceAll('_', ' ') }),
    ...[...keys.map((key) => found[key]), ...keys.map((key) => found[`${key}_frame_mean`])]
      .map((value) => element('td', { text: number(value, 3) }))));
  const heads = ['maps', ...keys.map((key) => `${key} IoU`), ...keys.map((key) => `${key}, frame mean`)];
  byId('maps').append(element('h2', { text: 'Maps' }));
  if (rows.length) {
    byId('maps').append(element('table', {}, element('thead', {}, element('tr', {},
      ...heads.map((text) => element('th', { text, scope: 'col' })))), element('tbody', {}, ...rows)));
  } else {
    byId('maps').append(element('p', { class: 'hint', text: 'No true maps: no IoU.' }));
  }
  for (const [dtype, air] of Object.entries(maps.traffic)) {
    byId('maps').append(element('p', { text: `${air.messages} maps on the air as ${dtype}: ${
      air.bytes_per_message === null ? '–' : bytes(air.bytes_per_message)} each, ${
      air.bytes_per_second === null ? '–' : bytes(air.bytes_per_second)} per second` }));
  }
  listTable('maps', 'What became of them', flat({ rejected_on_arrival: maps.inbox.rejected, ...maps.agents })
    .filter(([, value]) => value));
  listTable('maps', 'Protocol of the maps', flat(maps.protocol));
}
