// The camera images with projected boxes.

const EDGES = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4],
  [0, 4], [1, 5], [2, 6], [3, 7]];
const NEAR = 0.1; // metres; edges are cut at this depth

// Bright variants of the legend's hues: they lie on photographs, not on the page.
const ON_IMAGE = { truth: '#2fe0a6', hidden: '#2fe0a6', 'ego-only': '#ff8ccb',
  cooperative: '#5cc1ff', added: '#ff8a1f' };

/** Lines of a box in an image: [[u0, v0, u1, v1], ...] in pixels, pixel (0, 0) a pixel centre. */
function project(matrix, box) {
  const points = corners(box).map(([x, y, z]) => [0, 4, 8].map(
    (row) => matrix[row] * x + matrix[row + 1] * y + matrix[row + 2] * z + matrix[row + 3]));
  const lines = [];
  for (const [i, j] of EDGES) {
    let [a, b] = [points[i], points[j]];
    if (a[2] < NEAR && b[2] < NEAR) continue;
    if (a[2] < NEAR || b[2] < NEAR) {
      const share = (NEAR - a[2]) / (b[2] - a[2]);
      const cut = a.map((value, k) => value + share * (b[k] - value));
      [a, b] = a[2] < NEAR ? [cut, b] : [a, cut];
    }
    lines.push([a[0] / a[2], a[1] / a[2], b[0] / b[2], b[1] / b[2]]);
  }
  return lines;
}

// One figure per camera of the run, in order of appearance; the ego's cameras come first.
const figures = new Map();
const cameraKey = (camera) => JSON.stringify([camera.agent, camera.name]);
for (const frame of frames) {
  for (const camera of frame.cameras) {
    const key = cameraKey(camera);
    if (figures.has(key)) continue;
    const caption = element('figcaption');
    const canvas = element('canvas', { role: 'img', 'aria-label':
      `Camera ${short(camera.name)} of ${short(camera.agent)}` });
    const figure = element('figure', { class: 'camera' }, canvas, caption);
    figures.set(key, { key, camera, figure, canvas, caption, ego: agentNumbers.get(camera.agent) === 0 });
  }
}
const orderedFigures = [...figures.values()].sort((a, b) => b.ego - a.ego);
byId('cameras').append(...orderedFigures.map((entry) => entry.figure));
byId('cameras').classList.toggle('many', orderedFigures.length > 3);
byId('cameras').classList.toggle('rings', orderedFigures.length > 12); // a row per agent

const decoded = new Map(); // image id -> Image, the latest few

function decode(imageId) {
  let image = decoded.get(imageId);
  if (!image) {
    image = new Image();
    image.src = `data:image/jpeg;base64,${byId(imageId).textContent}`;
    image.ready = image.decode();
    image.ready.catch(() => {}); // answered where it is drawn
  }
  decoded.delete(imageId);
  decoded.set(imageId, image);
  while (decoded.size > 8 * Math.max(1, orderedFigures.length)) {
    decoded.delete(decoded.keys().next().value);
  }
  return image;
}

function drawCameras() {
  const frame = frames[state.index];
  if (!frame) return;
  for (const entry of orderedFigures) {
    const camera = frame.cameras.find((candidate) => cameraKey(candidate) === entry.key);
    entry.caption.textContent = `${short(entry.camera.agent)} · ${short(entry.camera.name)}`
      + (camera && Math.abs(camera.skew_ms) >= 1 ? ` · ${camera.skew_ms > 0 ? '+' : ''}${camera.skew_ms.toFixed(0)} ms` : '');
    if (!camera || !camera.image) {
      drawCamera(entry, camera || entry.camera, null,
        camera ? 'image left out (size limit of the page)' : 'no image at this time');
      continue;
    }
    const index = state.index;
    const image = decode(camera.image);
    if (image.complete && image.naturalWidth) {
      drawCamera(entry, camera, image);
    } else {
      // The old picture stays whole until the new one is there: boxes never lie on a wrong image.
      image.ready.then(() => { if (state.index === index) drawCamera(entry, camera, image); })
        .catch(() => { if (state.index === index) drawCamera(entry, camera, null, 'image cannot be decoded'); });
    }
  }
  for (let ahead = 1; ahead <= 3; ahead++) {
    for (const camera of frames[state.index + ahead]?.cameras ?? []) {
      if (camera.image) decode(camera.image);
    }
  }
}

function drawCamera(entry, camera, image, message) {
  const [context, width, height] = prepare(entry.canvas);
  const scale = Math.min(width / camera.width, height / camera.height);
  context.translate((width - camera.width * scale) / 2, (height - camera.height * scale) / 2);
  context.beginPath();
  context.rect(0, 0, camera.width * scale, camera.height * scale);
  context.clip();
  if (image) {
    context.drawImage(image, 0, 0, camera.width * scale, camera.height * scale);
  } else {
    context.fillStyle = '#9aa4af';
    context.font = '13px system-ui, sans-serif';
    context.textAlign = 'center';
    context.fillText(message, camera.width * scale / 2, camera.height * scale / 2);
  }
  if (camera.matrix && image && state.layers.boxes) drawBoxes(context, camera, scale);
  entry.figure.dataset.frame = state.index;
}

function drawBoxes(context, camera, scale) {
  const frame = frames[state.index];
  const placed = [];
  for (const [object, kind] of visibleObjects(frame)) {
    const lines = project(camera.matrix, object.box);
    if (!lines.length) continue;
    const colour = state.layers.by_id && (kind === 'cooperative' || kind === 'added')
      ? idColour(object.id, 65) : ON_IMAGE[kind];
    const faint = isFaint(object, kind);
    const thick = faint ? 0.7 : { truth: 1, hidden: 1, 'ego-only': 1.2, added: 2.2 }[kind] ?? 1.6;
    context.beginPath();
    for (const [u0, v0, u1, v1] of lines) {
      context.moveTo((u0 + 0.5) * scale, (v0 + 0.5) * scale);
      context.lineTo((u1 + 0.5) * scale, (v1 + 0.5) * scale);
    }
    context.setLineDash([]);
    context.strokeStyle = 'rgb(0 0 0 / .45)';
    context.lineWidth = thick + 1.6;
    if (kind !== 'truth' && kind !== 'hidden' && !faint) context.stroke();
    context.setLineDash({ 'ego-only': [5, 3], hidden: [2, 2] }[kind] ?? []);
    context.strokeStyle = colour;
    context.lineWidth = thick + (isPicked(object, kind) ? 2 : 0);
    context.stroke();
    context.setLineDash([]);
    if (state.layers.ids && !faint && (kind === 'added' || kind === 'cooperative')) {
      const x = Math.min(...lines.map((line) => Math.min(line[0], line[2]))) * scale;
      const top = Math.min(...lines.map((line) => Math.min(line[1], line[3]))) * scale;
      const y = -freeLine(placed, x, 3 - top, 2); // upwards
      context.font = '600 11px system-ui, sans-serif';
      context.textAlign = 'left';
      context.lineWidth = 3;
      context.lineJoin = 'round';
      context.strokeStyle = 'rgb(0 0 0 / .7)';
      context.strokeText(short(object.id, 12), x, y);
      context.fillStyle = colour;
      context.fillText(short(object.id, 12), x, y);
    }
  }
}
