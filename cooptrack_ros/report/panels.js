// Numbers: the card over the bird's-eye view, charts, tables.

const WINDOW = 1; // seconds over which bytes are counted
// Senders, the busiest first. A peer may make up names: charts and tables show a bounded number.
const messageCounts = new Map();
for (const frame of frames) {
  for (const { agent } of frame.messages) messageCounts.set(agent, (messageCounts.get(agent) ?? 0) + 1);
}
const allRemoteIds = [...agentNumbers.keys()].filter((id) => agentNumbers.get(id) !== 0)
  .sort((a, b) => (messageCounts.get(b) ?? 0) - (messageCounts.get(a) ?? 0));
const remoteIds = allRemoteIds.slice(0, 20);
const CHARTED = 5; // as many as there are colours

/** Bytes per second of a sender at each frame: what was sent in the last second; null before a
 *  first second is (almost) over. */
function byteRates(id) {
  const sent = frames.map((frame) => frame.messages.filter((message) => message.agent === id)
    .reduce((sum, message) => sum + message.bytes, 0));
  let first = 0, sum = 0;
  return frames.map((frame, i) => {
    sum += sent[i];
    while (frame.time - frames[first].time > WINDOW - 1e-6) sum -= sent[first++];
    return frame.time < 0.9 * WINDOW - 1e-6 ? null : sum / WINDOW;
  });
}
const rates = new Map(remoteIds.map((id) => [id, byteRates(id)]));

const counts = frames.map((frame) => {
  const hidden = (frame.truth || []).filter((object) => object.hidden);
  return {
    truth: frame.truth === null ? null : frame.truth.length,
    ego_only: frame.ego_only === null ? null : frame.ego_only.length,
    cooperative: frame.cooperative.length,
    added: frame.cooperative.filter((object) => object.added).length,
    hidden: frame.hidden_known ? hidden.length : null,
    hidden_by_ego: frame.ego_only === null ? null : hidden.filter((object) => object.by_ego).length,
    hidden_by_cooperation: hidden.filter((object) => object.by_cooperation).length,
  };
});
const hiddenKnown = counts.some((count) => count.hidden !== null);

function definitions(node, rows) {
  node.replaceChildren(...rows.flatMap(([name, value, className]) => [
    element('dt', { text: name, ...(className ? { class: className } : {}) }),
    element('dd', { text: value, ...(className ? { class: className } : {}) })]));
}

const countList = element('dl');
byId('counts').append(countList);

function drawCounts() {
  const count = counts[state.index];
  const rows = [];
  const shown = (value) => (value === null ? '–' : String(value));
  rows.push(['Ground truth', shown(count.truth)]);
  if (tracked) rows.push(['Ego only', shown(count.ego_only)], ['Cooperative', shown(count.cooperative)]);
  const { map } = frames[state.index];
  if (map) rows.push(['Maps fused', map.remote.length ? `ego + ${map.remote.length}` : 'ego alone']);
  if (!tracked) {
    // Nothing was looked for.
  } else if (hiddenKnown) {
    rows.push(['Hidden from ego', shown(count.hidden)],
      ['… ego only has', shown(count.hidden_by_ego)]);
    rows.push(['… cooperation has', shown(count.hidden_by_cooperation), 'added']);
  } else {
    rows.push(['Remote alone', shown(count.added), 'added']);
  }
  if (state.layers.association) {
    const { pairs, alone } = frames[state.index];
    const own = alone.filter((one) => one[2]).length;
    rows.push(['Matched pairs', String(pairs.length)], ['Vehicle unmatched', String(own), 'alone-ego'],
      ['Others unmatched', String(alone.length - own), 'alone-remote']);
  }
  for (const message of frames[state.index].messages.slice(0, 6)) {
    const age = message.age === null ? '' : ` · ${message.age.toFixed(0)} ms`;
    rows.push([short(message.agent, 16) + (message.kind === 'map' ? ' · map' : ''), message.outcome === 'accepted'
      ? `${bytes(message.bytes)}${age}` : `${short(message.outcome, 20)} · ${bytes(message.bytes)}`]);
  }
  const more = frames[state.index].messages.length - 6;
  if (more > 0) rows.push(['more messages', String(more)]);
  definitions(countList, rows);
}

function drawPicked() {
  const card = byId('picked');
  const frame = frames[state.index];
  const found = state.picked && visibleObjects(frame).find(([object, kind]) => isPicked(object, kind));
  card.hidden = !state.picked;
  if (!state.picked) return;
  const names = { truth: 'Ground truth', hidden: 'Ground truth, hidden', 'ego-only': 'Ego-only track',
    cooperative: 'Cooperative track', added: 'Added by cooperation' };
  const title = `${names[found ? found[1] : state.picked.kind]} ${short(state.picked.id, 20)}`;
  card.replaceChildren(element('b', { text: title }));
  if (!found) {
    card.append('not in this frame');
    return;
  }
  const [object] = found;
  const [x, y, , length, width, height, , vx, vy] = object.box;
  const rows = [['class', object.class], ['distance to ego', `${Math.hypot(x, y).toFixed(1)} m`],
    ['size', `${length.toFixed(1)} × ${width.toFixed(1)} × ${height.toFixed(1)} m`],
    ['speed', vx === null || vy === null ? 'unknown' : `${Math.hypot(vx, vy).toFixed(1)} m/s`]];
  if (object.score !== undefined) rows.push(['score', object.score.toFixed(2)], ['rests on', object.source]);
  if (object.remote?.length) rows.push(['remote agents', object.remote.map((id) => short(id, 20)).join(', ')]);
  const list = element('dl');
  definitions(list, rows);
  card.append(list);
}

/** A line chart over time; ticks and a cursor at the frame shown. */
function drawChart(canvas, series, unit) {
  const [context, width, height] = prepare(canvas);
  if (!frames.length || !width) return;
  const [left, right, top, bottom] = [64, 8, 8, 20];
  const last = Math.max(frames[frames.length - 1].time, 1e-3);
  const most = Math.max(1, ...series.flatMap((one) => one.values.filter((value) => value !== null)));
  const step = niceStep(most / 3);
  const ceiling = Math.ceil(most / step) * step;
  const x = (time) => left + (width - left - right) * time / last;
  const y = (value) => top + (height - top - bottom) * (1 - value / ceiling);
  context.font = '11px system-ui, sans-serif';
  context.fillStyle = colours.dim;
  context.lineWidth = 1;
  for (let value = 0; value <= ceiling + 1e-9; value += step) {
    context.strokeStyle = colours.grid;
    path(context, [[left, y(value)], [width - right, y(value)]]);
    context.stroke();
    context.textAlign = 'right';
    context.fillText(unit(value), left - 6, y(value) + 4);
  }
  context.textAlign = 'center';
  const tick = niceStep(last / 6);
  for (let time = 0; time <= last + 1e-6; time += tick) {
    context.fillText(`${+time.toFixed(2)} s`, Math.min(x(time), width - right - 12), height - 5);
  }
  for (const one of series) {
    context.strokeStyle = context.fillStyle = one.colour;
    context.lineWidth = one.area ? 1 : 2;
    context.setLineDash(one.dash || []);
    context.beginPath();
    let open = false;
    one.values.forEach((value, i) => {
      if (value === null) { open = false; return; }
      const point = [x(frames[i].time), y(value)];
      if (open) context.lineTo(...point); else context.moveTo(...point);
      open = true;
    });
    context.stroke();
    if (one.area) {
      context.lineTo(x(last), y(0));
      context.lineTo(x(0), y(0));
      context.globalAlpha = 0.15;
      context.fill();
      context.globalAlpha = 1;
    }
    context.setLineDash([]);
  }
  const now = x(frames[state.index].time);
  context.strokeStyle = colours.text;
  context.lineWidth = 1;
  path(context, [[now, top - 4], [now, height - bottom]]);
  context.stroke();
  for (const one of series) {
    const value = one.values[state.index];
    if (value === null) continue;
    context.fillStyle = one.colour;
    context.beginPath();
    context.arc(now, y(value), 3.5, 0, 2 * Math.PI);
    context.fill();
  }
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * power).find((value) => value >= rough) ?? rough;
}

function nowLine(node, entries) {
  node.replaceChildren(...entries.map(([name, value, colour]) => element('span', {},
    element('i', { colour }), `${name} ${value}`)));
}

function drawCharts() {
  const rateSeries = remoteIds.slice(0, CHARTED).map((id) => ({ name: id, colour: agentColour(id), values: rates.get(id) }));
  drawChart(byId('rate'), rateSeries, bytes);
  nowLine(byId('rate-now'), rateSeries.map((one) => [short(one.name, 20),
    one.values[state.index] === null ? '–' : `${bytes(one.values[state.index])}/s`, one.colour]));
  const series = hiddenKnown ? [
    { name: 'hidden', colour: colours.truth, area: true, values: counts.map((c) => c.hidden) },
    { name: 'in ego-only tracks', colour: colours['ego-only'], dash: [5, 3], values: counts.map((c) => c.hidden_by_ego) },
    { name: 'in cooperative tracks', colour: colours.added, values: counts.map((c) => c.hidden_by_cooperation) },
  ] : [
    { name: 'ego-only tracks', colour: colours['ego-only'], dash: [5, 3], values: counts.map((c) => c.ego_only) },
    { name: 'cooperative tracks', colour: colours.cooperative, values: counts.map((c) => c.cooperative) },
  ];
  byId('found-title').textContent = hiddenKnown ? 'Objects hidden from the ego camera' : 'Tracks';
  byId('found-hint').textContent = hiddenKnown ? 'and which tracker has them (score ≥ 0.3, within 2 m)' : '';
  drawChart(byId('found'), series, (value) => String(+value.toFixed(2)));
  nowLine(byId('found-now'), series.map((one) => [one.name, one.values[state.index] ?? '–', one.colour]));
}

// Tables.

const METRICS = { mean_ap: ['mean AP', 3], amota: ['AMOTA', 3], amotp: ['AMOTP (m)', 3, 'low'],
  mota: ['MOTA', 3], motp: ['MOTP (m)', 3, 'low'], recall: ['recall', 3], ids: ['id switches', 0, 'low'],
  hidden_recall: ['hidden recall', 3], hidden_precision: ['hidden precision', 3] };

/** {ap: {0.5: x}} -> [['ap.0.5', x], ...]; arrays and texts stay. */
function flat(value, prefix = '') {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [[prefix, value]];
  return Object.entries(value).flatMap(([key, item]) => flat(item, prefix ? `${prefix}.${key}` : key));
}

function metricsTable() {
  const methods = summary.metrics?.methods;
  if (!tracked && mapsKnown) return;
  if (!methods || !Object.keys(methods).length) {
    byId('metrics').append(element('h2', { text: 'Metrics' }),
      element('p', { class: 'hint', text: 'No metrics: this run had no ground truth.' }));
    return;
  }
  const rows = Object.entries(methods).map(([name, values]) => [name, new Map(flat(values))]);
  const keys = [...new Set(rows.flatMap(([, values]) => [...values.keys()]))].filter(
    (key) => rows.some(([, values]) => typeof values.get(key) === 'number'));
  const order = Object.keys(METRICS);
  const place = (key) => (order.includes(key) ? order.indexOf(key) : order.length + (key.startsWith('ap.') ? 0 : 1));
  keys.sort((a, b) => place(a) - place(b));
  const head = element('tr', {}, element('th', { text: 'method' }), ...keys.map((key) => element('th',
    { text: METRICS[key]?.[0] ?? key.replace(/^ap\.([\d.]+)$/, 'AP $1 m').replaceAll('_', ' '), scope: 'col' })));
  const body = rows.map(([name, values]) => {
    const cells = keys.map((key) => {
      const value = values.get(key);
      const digits = METRICS[key]?.[1] ?? (rows.every(([, other]) => Number.isInteger(other.get(key) ?? 0)) ? 0 : 3);
      const all = rows.map(([, other]) => other.get(key)).filter((other) => typeof other === 'number');
      const known = METRICS[key] || key.startsWith('ap.');
      const best = METRICS[key]?.[2] === 'low' ? Math.min(...all) : Math.max(...all);
      const cell = element('td', { text: typeof value === 'number' ? number(value, digits) : '–' });
      if (known && value === best && Math.min(...all) !== Math.max(...all)) cell.className = 'best';
      return cell;
    });
    const index = summary.methods.indexOf(name);
    const mark = index < 0 ? '' : ` (shown as ${index ? 'cooperative' : 'ego only'})`;
    const row = element('tr', {}, element('td', { text: name + mark }), ...cells);
    if (index >= 0) row.className = 'shown';
    return row;
  });
  byId('metrics').append(element('h2', { text: 'Metrics' }),
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...body)),
    element('p', { class: 'hint', text: 'Bold: best of the column. The protocol is printed below.' }));
  const perSecond = Object.entries(summary.metrics.bytes_per_second || {});
  if (perSecond.length) {
    byId('metrics').append(element('p', { text: `Bytes per second by number format: ${perSecond
      .map(([name, value]) => `${name} ${value === null ? '–' : bytes(value)}`).join(' · ')}` }));
  }
}

function quantile(values, q) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q, low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

/** Message statistics of one sender over the run, of one kind of message or of all. */
function messageStatistics(id, kind) {
  const all = frames.flatMap((frame) => frame.messages.filter(
    (message) => message.agent === id && (kind ?? message.kind) === message.kind));
  const received = all.filter((message) => message.outcome !== 'lost');
  const accepted = all.filter((message) => message.outcome === 'accepted');
  const instances = accepted.filter((message) => message.kind !== 'map');
  const rejected = {};
  for (const { outcome } of received) {
    if (outcome !== 'accepted') rejected[outcome] = (rejected[outcome] ?? 0) + 1;
  }
  const ages = received.map((message) => message.age).filter((age) => age !== null);
  const total = all.reduce((sum, message) => sum + message.bytes, 0);
  return { sent: all.length, lost: all.length - received.length, received: received.length,
    accepted: accepted.length, rejected, bytes: total, mean_bytes: all.length ? total / all.length : null,
    mean_instances: instances.length
      ? instances.reduce((sum, message) => sum + message.instances, 0) / instances.length : null,
    age_median: quantile(ages, 0.5), age_p95: quantile(ages, 0.95) };
}

function messagesTable() {
  const heads = ['sender', 'sent', 'lost', 'received', 'accepted', 'rejected', 'bytes sent', 'mean size',
    'mean instances', 'age median', 'age 95 %'];
  const kinds = ['instances', 'map'].filter((kind) => frames.some(
    (frame) => frame.messages.some((message) => message.kind === kind)));
  const rows = remoteIds.flatMap((id) => kinds.map((kind) => [id, kind])).map(([id, kind]) => {
    const s = messageStatistics(id, kind);
    const reasons = Object.entries(s.rejected).map(([reason, count]) => `${short(reason, 30)} ${count}`).join(', ');
    const count = Object.values(s.rejected).reduce((sum, value) => sum + value, 0);
    return [short(id, 40) + (kinds.length > 1 ? ` · ${kind}` : ''), s.sent, s.lost, s.received, s.accepted, reasons ? `${count} (${reasons})` : count,
      bytes(s.bytes), s.mean_bytes === null ? '–' : bytes(s.mean_bytes), number(s.mean_instances, 1),
      s.age_median === null ? '–' : `${s.age_median.toFixed(0)} ms`,
      s.age_p95 === null ? '–' : `${s.age_p95.toFixed(0)} ms`];
  });
  byId('messages').append(element('h2', { text: 'Messages' }), rows.length
    ? element('table', {}, element('thead', {}, element('tr', {}, ...heads.map((text) => element('th', { text, scope: 'col' })))),
      element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map((value) => element('td', { text: String(value) }))))))
    : element('p', { class: 'hint', text: 'No remote agent in this run.' }));
  const more = allRemoteIds.length - remoteIds.length;
  if (more > 0) {
    const count = allRemoteIds.slice(remoteIds.length).reduce((sum, id) => sum + (messageCounts.get(id) ?? 0), 0);
    byId('messages').append(element('p', { class: 'hint', text: `and ${more} more senders with ${count} messages` }));
  }
}

function listTable(id, title, entries) {
  if (!entries.length) return;
  byId(id).append(element('h2', { text: title }), element('table', { class: 'plain' }, element('tbody', {},
    ...entries.map(([key, value]) => element('tr', {}, element('td', { text: key.replaceAll('_', ' ') }),
      element('td', { text: value === null ? '–' : Array.isArray(value) ? value.join(', ') : String(value) }))))));
}

function fillTables() {
  metricsTable();
  mapsTable();
  messagesTable();
  listTable('protocol', 'Protocol', flat(summary.metrics?.protocol ?? {}));
  listTable('provenance', 'Provenance', flat(summary.provenance));
}
