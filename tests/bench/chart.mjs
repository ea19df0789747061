// Line charts side by side as one SVG, for light and dark pages.
import { number } from './report.mjs';

const PANEL = { width: 320, height: 320, left: 52, right: 14, top: 48, bottom: 44 };
const STYLE = `
:root { color-scheme: light dark; --page: #fff; --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --s0: #0969da; --s1: #bc4c00; --s2: #1a7f37; --s3: #8250df; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --grid: #2a313a; --s0: #58a6ff; --s1: #f0883e; --s2: #56d364; --s3: #bc8cff; } }
.page { fill: var(--page); } text { font: 11px system-ui, sans-serif; fill: var(--soft); } .title { font-size: 13px; font-weight: 600; fill: var(--ink); }
.grid { stroke: var(--grid); } .line { fill: none; stroke-width: 2; stroke-linejoin: round; } .ideal { fill: none; stroke-dasharray: 4 4; opacity: .7; } .end { text-anchor: end; } .mid { text-anchor: middle; }
${[0, 1, 2, 3].map((at) => `.line${at} { stroke: var(--s${at}); } .dot${at} { fill: var(--s${at}); }`).join(' ')}`;

const escape = (text) => text.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`);
const text = (x, y, kind, content) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" class="${kind}">${escape(content)}</text>`;

// Round values that cover `values`, few enough to label.
function ticks(values, log) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (!log) {
    const step = [1, 2, 5, 10].map((unit) => unit * 10 ** Math.floor(Math.log10(most / 5))).find((step) => most / step <= 6);
    return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, at) => at * step);
  }
  for (const units of [[1, 2, 5], [1, 3], [1]]) {
    const all = [];
    for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) all.push(...units.map((unit) => unit * 10 ** power));
    const from = all.findLastIndex((tick) => tick <= least * (1 + 1e-9));
    const to = all.findIndex((tick) => tick >= most * (1 - 1e-9));
    if (to - from <= 8 || units.length === 1) return all.slice(from, Math.max(to, from + 1) + 1);
  }
}

// Where values stand between two pixels.
function scale(marks, log, from, to) {
  const place = log ? Math.log : (value) => value;
  const [least, most] = [place(marks[0]), place(marks.at(-1))];
  return (value) => from + ((place(value) - least) / (most - least || 1)) * (to - from);
}

const short = (value) => (value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : number(value));

function panel({ title, x: xLabel, y: yLabel, logX, logY, ideal, series }, at) {
  const dots = series.flatMap((one) => one.dots);
  const [right, bottom] = [PANEL.width - PANEL.right, PANEL.height - PANEL.bottom];
  const xs = [...new Set(dots.map(([value]) => value))].sort((a, b) => a - b);
  const ideals = series.map(({ dots: [[from, speed], ...more] }) => [from, speed, more.at(-1)?.[0] ?? from]);
  const yTicks = ticks([...dots.map(([, value]) => value), ...(ideal ? ideals.map(([from, speed, to]) => (speed * to) / from) : [])], logY);
  const x = scale(logX || xs.length > 1 ? xs : [xs[0] - 1, xs[0] + 1], logX, PANEL.left + 8, right - 8);
  const y = scale(yTicks, logY, bottom, PANEL.top);
  const parts = [text(8, 16, 'title', title), text(8, 34, '', yLabel)];
  for (const tick of yTicks) {
    parts.push(`<path class="grid" d="M${PANEL.left} ${y(tick).toFixed(1)}H${right}"/>`, text(PANEL.left - 6, y(tick) + 4, 'end', number(tick)));
  }
  let last = -Infinity;
  for (const tick of xs) {
    if (x(tick) - last < 24) continue;
    last = x(tick);
    parts.push(text(x(tick), bottom + 16, 'mid', short(tick)));
  }
  parts.push(text((PANEL.left + right) / 2, bottom + 34, 'mid', xLabel));
  for (const [index, { dots }] of series.entries()) {
    const kind = index % 4;
    const path = (points) => points.map(([a, b], at) => `${at ? 'L' : 'M'}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join('');
    if (ideal) {
      const [from, speed, to] = ideals[index];
      parts.push(`<path class="ideal line${kind}" d="${path([[from, speed], [to, (speed * to) / from]])}"/>`);
    }
    parts.push(`<path class="line line${kind}" d="${path(dots)}"/>`);
    for (const [a, b] of dots) parts.push(`<circle class="dot${kind}" cx="${x(a).toFixed(1)}" cy="${y(b).toFixed(1)}" r="3"><title>${escape(`${number(a)} ${xLabel}: ${number(b)} ${yLabel}`)}</title></circle>`);
  }
  return `<g transform="translate(${at * PANEL.width} 0)">\n${parts.join('\n')}\n</g>`;
}

/** The panels, each { title, x, y, logX, logY, ideal, series: [{ name, dots: [[x, y], ...] }] }, as the text of an SVG file. */
export function chart(panels) {
  const names = [...new Set(panels.flatMap(({ series }) => series.map(({ name }) => name)))];
  const [width, height] = [panels.length * PANEL.width, PANEL.height + 24];
  let from = PANEL.left;
  const legend = names.map((name, at) => {
    const part = `<circle class="dot${at % 4}" cx="${from}" cy="${height - 14}" r="4"/>${text(from + 10, height - 10, '', name)}`;
    from += 30 + 6.5 * name.length;
    return part;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="How the speed scales">
<style>${STYLE}</style>
<rect class="page" width="${width}" height="${height}"/>
${panels.map(panel).join('\n')}
${legend.join('\n')}
</svg>
`;
}
