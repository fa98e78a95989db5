// The bird's-eye view.

const sceneCanvas = byId('scene');
const RINGS = [10, 25, 50, 75, 100];
const VIEW_REACH = 60; // metres a field of view is drawn out to
const TRAIL_SECONDS = 5;

// Per scene: track id -> [[frame index, x, y], ...] of the cooperative tracks.
for (const scene of scenes) {
  scene.trails = new Map();
  for (let i = scene.first; i <= scene.last; i++) {
    for (const track of frames[i].cooperative) {
      if (!scene.trails.has(track.id)) scene.trails.set(track.id, []);
      scene.trails.get(track.id).push([i, ...toScene(frames[i], ...track.box)]);
    }
  }
  const points = [];
  for (let i = scene.first; i <= scene.last; i++) {
    for (const agent of frames[i].agents) points.push(toScene(frames[i], ...agent.position));
  }
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  scene.centre = [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2];
  scene.extent = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
}

/** Scene coordinates to canvas pixels and back, for the frame and view shown. */
function sceneView(frame, width, height) {
  const ego = toScene(frame, 0, 0, 0);
  const angle = headingOf(state.view === 'ego' ? frame.pose : frame.scene.pose);
  const centre = state.view === 'scene' ? frame.scene.centre : ego;
  const span = state.view === 'scene' ? Math.max(100, frame.scene.extent + 50) : 100;
  const scale = state.zoom * Math.min(width, height) / span;
  const c = Math.cos(angle), s = Math.sin(angle);
  const x0 = width / 2 + state.pan[0];
  const y0 = height * (state.view === 'ego' ? 0.6 : 0.5) + state.pan[1];
  return {
    scale, angle, ego,
    at: ([x, y]) => {
      const dx = x - centre[0], dy = y - centre[1];
      return [x0 - (-s * dx + c * dy) * scale, y0 - (c * dx + s * dy) * scale];
    },
  };
}

function drawScene() {
  const frame = frames[state.index];
  const [context, width, height] = prepare(sceneCanvas);
  if (!frame || !width) return;
  const view = sceneView(frame, width, height);
  drawMap(context, view, frame);
  drawGrid(context, view, width, height);
  if (state.layers.views) frame.agents.forEach((agent) => drawViews(context, view, frame, agent));
  if (state.layers.trails) drawTrails(context, view, frame);
  if (state.layers.links) drawLinks(context, view, frame);
  const shown = visibleObjects(frame);
  for (const [object, kind] of shown) drawObject(context, view, frame, object, kind);
  if (state.layers.association) drawAssociation(context, view, frame, width, height);
  frame.agents.forEach((agent) => drawAgent(context, view, frame, agent));
  if (state.layers.ids && !state.layers.association) {
    const placed = [];
    for (const [object, kind] of shown.slice().reverse()) { // what cooperation added keeps its place
      if ((kind === 'cooperative' && !isFaint(object, kind)) || kind === 'added') drawId(context, view, frame, object, kind, placed);
    }
  }
  drawScale(context, view, width, height);
  sceneCanvas.dataset.frame = state.index;
}

function drawGrid(context, view, width, height) {
  context.strokeStyle = colours.grid;
  context.lineWidth = 1;
  const step = view.scale < 2 ? 50 : 10;
  const reach = Math.ceil((Math.hypot(width, height) / view.scale + 200) / step) * step;
  const [ox, oy] = view.ego.map((v) => Math.round(v / step) * step);
  context.beginPath();
  for (let k = -reach; k <= reach; k += step) {
    context.moveTo(...view.at([ox + k, oy - reach]));
    context.lineTo(...view.at([ox + k, oy + reach]));
    context.moveTo(...view.at([ox - reach, oy + k]));
    context.lineTo(...view.at([ox + reach, oy + k]));
  }
  context.stroke();
  const [x, y] = view.at(view.ego);
  context.strokeStyle = colours.ring;
  context.fillStyle = colours.dim;
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'center';
  for (const ring of RINGS) {
    context.setLineDash(ring === 50 ? [] : [2, 4]);
    context.beginPath();
    context.arc(x, y, ring * view.scale, 0, 2 * Math.PI);
    context.stroke();
    context.fillText(`${ring} m`, x, y + ring * view.scale - 3);
  }
  context.setLineDash([]);
}

function drawViews(context, view, frame, agent) {
  const colour = agentColour(agent.id);
  for (const [x, y, left, right] of agent.views) {
    const z = agent.position[2];
    const turn = (left - right + 4 * Math.PI) % (2 * Math.PI);
    const points = [view.at(toScene(frame, x, y, z))];
    for (let k = 0; k <= 16; k++) {
      const bearing = left - turn * k / 16;
      points.push(view.at(toScene(frame, x + VIEW_REACH * Math.cos(bearing),
        y + VIEW_REACH * Math.sin(bearing), z)));
    }
    context.fillStyle = context.strokeStyle = colour;
    path(context, points, true);
    context.globalAlpha = 0.06;
    context.fill();
    context.globalAlpha = 0.4;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
  }
}

function path(context, points, closed) {
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed) context.closePath();
}

function drawTrails(context, view, frame) {
  for (const track of frame.cooperative) {
    const kind = track.added ? 'added' : 'cooperative';
    if (!state.layers[kind] || isFaint(track, kind)) continue;
    const trail = frame.scene.trails.get(track.id)
      .filter(([i]) => i <= state.index && frame.time - frames[i].time <= TRAIL_SECONDS);
    context.strokeStyle = state.layers.by_id ? idColour(track.id) : colours[kind];
    context.lineWidth = 1.5;
    for (let k = 1; k < trail.length; k++) {
      context.globalAlpha = 0.08 + 0.5 * k / trail.length;
      path(context, [view.at(trail[k - 1].slice(1)), view.at(trail[k].slice(1))]);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}

function drawLinks(context, view, frame) {
  for (const track of frame.cooperative) {
    const kind = track.added ? 'added' : 'cooperative';
    if (!state.layers[kind] || isFaint(track, kind)) continue;
    for (const id of track.remote) {
      const agent = frame.agents.find((candidate) => candidate.id === id);
      if (!agent) continue;
      context.strokeStyle = agentColour(id);
      context.globalAlpha = isPicked(track, 'cooperative') ? 1 : 0.5;
      context.lineWidth = isPicked(track, 'cooperative') ? 2 : 1;
      context.setLineDash([1, 4]);
      context.lineCap = 'round';
      path(context, [view.at(toScene(frame, ...agent.position)), view.at(toScene(frame, ...track.box))]);
      context.stroke();
    }
  }
  context.setLineDash([]);
  context.lineCap = 'butt';
  context.globalAlpha = 1;
}

const outline = (view, frame, object) =>
  corners(object.box).slice(0, 4).map((point) => view.at(toScene(frame, ...point)));

function drawObject(context, view, frame, object, kind) {
  const points = outline(view, frame, object);
  const middle = view.at(toScene(frame, ...object.box));
  const colour = state.layers.by_id && (kind === 'cooperative' || kind === 'added')
    ? idColour(object.id) : colours[kind === 'hidden' ? 'truth' : kind];
  context.fillStyle = context.strokeStyle = colour;
  context.setLineDash(kind === 'ego-only' ? [5, 3] : []);
  if (kind === 'added') {
    const radius = Math.hypot(points[0][0] - middle[0], points[0][1] - middle[1]) + 7;
    context.globalAlpha = 0.16;
    context.beginPath();
    context.arc(...middle, radius, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 0.8;
    context.lineWidth = 1.2;
    context.stroke();
  }
  path(context, points, true);
  context.globalAlpha = { truth: 0.22, hidden: 0.1, added: 0.3 }[kind] ?? 0;
  context.fill();
  context.globalAlpha = 1;
  if (kind === 'hidden') hatch(context, points);
  path(context, points, true);
  context.lineWidth = (isFaint(object, kind) ? 1
    : { truth: 1, hidden: 1.2, 'ego-only': 2, cooperative: 2.2, added: 3 }[kind])
    + (isPicked(object, kind) ? 2 : 0);
  context.stroke();
  context.setLineDash([]);
  if (kind === 'truth' || kind === 'hidden' || isFaint(object, kind)) return;
  // The front edge, so that the heading shows without the velocity.
  path(context, [points[0], points[3]]);
  context.lineWidth += 1.6;
  context.stroke();
  const [vx, vy] = [object.box[7], object.box[8]];
  if (state.layers.velocity && vx !== null && vy !== null && Math.hypot(vx, vy) > 0.5) {
    const tip = view.at(toScene(frame, object.box[0] + vx, object.box[1] + vy, object.box[2]));
    arrow(context, middle, tip);
  }
}

/** Pairs as lines from the vehicle's instance (ring) to the other one (diamond), and what found no
 *  partner, over a veil that keeps the boxes in sight. */
function drawAssociation(context, view, frame, width, height) {
  const at = (x, y) => view.at(toScene(frame, x, y, 0));
  context.globalAlpha = 0.62;
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, width, height);
  context.globalAlpha = 1;
  for (const [x, y, own] of frame.alone) {
    if (own) ring(context, at(x, y), colours['alone-ego']);
    else diamond(context, at(x, y), 6.5, colours['alone-remote']);
  }
  const pairs = frame.pairs.map(([x, y, u, v, id]) => [at(x, y), at(u, v), id, pairColour(id)]);
  for (const [own, other, , colour] of pairs) {
    ring(context, own, colour);
    path(context, [own, other]);
    context.strokeStyle = colour;
    context.lineWidth = 2.4;
    context.stroke();
    diamond(context, other, 5, colour);
  }
  if (!state.layers.ids) return;
  const placed = [];
  for (const [own, other, id, colour] of pairs) {
    if (!(id >= 0)) continue;
    const x = Math.max(own[0], other[0]) + 11;
    label(context, short(id, 12), x, freeLine(placed, x, (own[1] + other[1]) / 2 + 4), colour, 'left');
  }
}

function ring(context, [x, y], colour) {
  for (const [stroke, wide] of [[colours.ground, 5], [colour, 2.4]]) {
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.strokeStyle = stroke;
    context.lineWidth = wide;
    context.stroke();
  }
}

function diamond(context, [x, y], size, colour) {
  path(context, [[x, y - size], [x + size, y], [x, y + size], [x - size, y]], true);
  context.strokeStyle = colours.ground;
  context.lineWidth = 2.5;
  context.stroke();
  context.fillStyle = colour;
  context.fill();
}

function hatch(context, points) {
  context.save();
  path(context, points, true);
  context.clip();
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const top = Math.min(...ys), tall = Math.max(...ys) - top;
  context.beginPath();
  for (let x = Math.min(...xs) - tall; x < Math.max(...xs); x += 5) {
    context.moveTo(x, top + tall);
    context.lineTo(x + tall, top);
  }
  context.lineWidth = 1.2;
  context.stroke();
  context.restore();
}

function arrow(context, from, to) {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  context.lineWidth = 1.5;
  path(context, [from, to]);
  context.stroke();
  path(context, [to, ...[2.6, -2.6].map((turn) => [to[0] + 7 * Math.cos(angle + turn),
    to[1] + 7 * Math.sin(angle + turn)])], true);
  context.fill();
}

function label(context, text, x, y, colour, align = 'center') {
  context.font = '600 11.5px system-ui, sans-serif';
  context.textAlign = align;
  context.lineWidth = 3;
  context.lineJoin = 'round';
  context.strokeStyle = colours.ground;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawId(context, view, frame, object, kind, placed) {
  const points = outline(view, frame, object);
  const x = Math.max(...points.map((p) => p[0])) + (kind === 'added' ? 9 : 3);
  const y = freeLine(placed, x, Math.min(...points.map((p) => p[1])) + 2);
  label(context, short(object.id, 12), x, y, state.layers.by_id ? idColour(object.id) : colours[kind], 'left');
}

function drawAgent(context, view, frame, agent) {
  const [x, y] = view.at(toScene(frame, ...agent.position));
  const colour = agentColour(agent.id);
  context.fillStyle = colour;
  context.strokeStyle = colours.ground;
  context.lineWidth = 1.5;
  if (agent.role === 'vehicle') {
    const [tx, ty] = view.at(toScene(frame, agent.position[0] + Math.cos(agent.yaw),
      agent.position[1] + Math.sin(agent.yaw), agent.position[2]));
    const heading = Math.atan2(ty - y, tx - x);
    const size = Math.max(9, 2.6 * view.scale);
    path(context, [[0, 1], [2.45, 0.75], [Math.PI, 0.45], [-2.45, 0.75]].map(([turn, part]) => [
      x + size * (turn === 0 ? 1 : part) * Math.cos(heading + turn),
      y + size * (turn === 0 ? 1 : part) * Math.sin(heading + turn)]), true);
  } else {
    path(context, [[x, y - 9], [x + 9, y], [x, y + 9], [x - 9, y]], true);
  }
  context.fill();
  context.stroke();
  label(context, short(agent.id, 20) + (agent.ego ? ' (ego)' : ''), x, y + 24, colour);
}

function drawScale(context, view, width, height) {
  const metres = [1, 2, 5, 10, 20, 50, 100].find((m) => m * view.scale > 50) ?? 200;
  const x = width - 14, y = height - 12;
  context.strokeStyle = colours.text;
  context.lineWidth = 2;
  path(context, [[x - metres * view.scale, y - 4], [x - metres * view.scale, y], [x, y], [x, y - 4]]);
  context.stroke();
  label(context, `${metres} m`, x - metres * view.scale / 2, y - 5, colours.text);
}

/** The object under a canvas point, tracks before ground truth, or null. */
function objectAt(px, py) {
  const frame = frames[state.index];
  const view = sceneView(frame, sceneCanvas.clientWidth, sceneCanvas.clientHeight);
  let best = null, bestDistance = 22;
  for (const [object, kind] of visibleObjects(frame)) {
    const [x, y] = view.at(toScene(frame, ...object.box));
    const reach = Math.hypot(object.box[3], object.box[4]) / 2 * view.scale;
    const penalty = { truth: 6, hidden: 6, 'ego-only': 3 }[kind] ?? 0;
    const distance = Math.max(0, Math.hypot(px - x, py - y) - reach / 2) + penalty;
    if (distance < bestDistance) {
      best = { kind, id: object.id };
      bestDistance = distance;
    }
  }
  return best;
}
