// What Grafana makes of answers before a panel draws them, by Grafana's own library: its
// transformations, names of fields, units, mappings and links. Reads panels with their answers from
// the file that is named, and prints what is wrong with them, a line each.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { JSDOM } = require('jsdom');

// The library looks for a browser.
const { window } = new JSDOM('<!doctype html>');
Object.assign(globalThis, {
  window,
  document: window.document,
  HTMLElement: window.HTMLElement,
  localStorage: { getItem() {}, setItem() {} },
});
Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true });

const grafana = require('@grafana/data');
const { lastValueFrom } = require('rxjs');
const { FieldType, getFieldDisplayName } = grafana;
const theme = grafana.createTheme();

const transformers = new Map(Object.values(grafana.standardTransformers).map((it) => [it.id, it]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((it) => ({ id: it.id, name: it.name, transformation: async () => it })),
);

/** Settings of fields as Grafana knows them, and those that its types of panels add. */
const settings = new grafana.FieldConfigOptionsRegistry(() => []);
const own = ['width', 'align', 'cellOptions', 'axisPlacement', 'fillOpacity'];
const common = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'links', 'color', 'thresholds', 'mappings'];
for (const [names, isCustom] of [[common, false], [own, true]]) {
  for (const path of names) {
    const id = isCustom ? `custom.${path}` : path;
    settings.register({ id, path, name: id, isCustom, shouldApply: () => true, process: (value) => value });
  }
}

const number = (text) => ({ '+Inf': Infinity, '-Inf': -Infinity })[text] ?? Number(text);
const labelsOf = ({ metric: { __name__, ...labels } }) => labels;
const filled = (legend, labels) => legend.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');
const time = (values) => ({ name: 'Time', type: FieldType.time, config: {}, values });

/** A frame for each series, as Grafana's Prometheus data source gives them. */
function seriesFrames({ refId, legendFormat }, result) {
  if (!result.length) return [{ refId, length: 0, fields: [] }];
  return result.map((series) => {
    const labels = labelsOf(series);
    const name = filled(legendFormat, labels);
    const points = series.values ?? [series.value];
    const values = points.map(([, value]) => number(value));
    const value = { name: 'Value', type: FieldType.number, labels, config: { displayNameFromDS: name }, values };
    return { refId, name, length: points.length, fields: [time(points.map(([at]) => at * 1000)), value] };
  });
}

/** A frame with a row for each series and a column for each label. Of several queries without an answer,
 * Grafana makes frames with headings and no rows. */
function tableFrames({ refId }, result, isAlone) {
  if (!result.length && isAlone) return [{ refId, length: 0, fields: [] }];
  const names = [...new Set(result.flatMap((series) => Object.keys(labelsOf(series))))].sort();
  const label = (name) => ({
    name, type: FieldType.string, config: {}, values: result.map(({ metric }) => metric[name] ?? ''),
  });
  const values = result.map(({ value: [, value] }) => number(value));
  const value = { name: isAlone ? 'Value' : `Value #${refId}`, type: FieldType.number, config: {}, values };
  const times = result.map(({ value: [at] }) => at * 1000);
  return [{ refId, length: result.length, fields: [time(times), ...names.map(label), value] }];
}

/** Buckets from the lowest on, each with what is in it alone. */
function bucketFrames({ refId, legendFormat }, result) {
  const sorted = [...result].sort((one, other) => number(one.metric.le) - number(other.metric.le));
  let below = 0;
  return sorted.map(({ metric, value: [at, text] }) => {
    const name = filled(legendFormat, metric);
    const value = number(text) - below;
    below = number(text);
    const field = { name, type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: [value] };
    return { refId, name, length: 1, fields: [time([at * 1000]), field] };
  });
}

/** Grafana's transformation timeSeriesTable, which is not in its library: a row for each series. */
function trends(frames, options) {
  return Object.keys(options).map((refId) => {
    const mine = frames.filter((frame) => frame.refId === refId && frame.fields.length);
    if (!mine.length) return { refId, length: 0, fields: [] };
    const names = [...new Set(mine.flatMap(({ fields: [, { labels }] }) => Object.keys(labels)))];
    const label = (name) => ({
      name, type: FieldType.string, config: {}, values: mine.map(({ fields: [, { labels }] }) => labels[name] ?? ''),
    });
    const trend = { name: `Trend #${refId}`, type: FieldType.frame, config: {}, values: mine };
    return { refId, length: mine.length, fields: [...names.map(label), trend] };
  });
}

/** A link with the row's values; what it names must be there. */
function followed(text, { __dataContext }) {
  const { frame, rowIndex } = __dataContext.value;
  const values = grafana.getFieldDisplayValuesProxy({ frame, rowIndex });
  return text
    .replace(/\$\{__data\.fields\.(\w+)\}/g, (_, name) => values[name]?.text ?? '?')
    .replace(/\$\{__data\.fields\["(.+?)"\]\.numeric\}/g, (_, name) => values[name]?.numeric ?? '?')
    .replace('${gitlab_url:raw}', 'https://gitlab.example.com');
}

async function drawn({ panel, answers }) {
  let frames = panel.targets.flatMap((target, index) => {
    const result = answers[index];
    if (target.range) return seriesFrames(target, result);
    if (target.format === 'table') return tableFrames(target, result, panel.targets.length === 1);
    return target.format === 'heatmap' ? bucketFrames(target, result) : seriesFrames(target, result);
  });
  for (const step of panel.transformations ?? []) {
    if (step.id === 'timeSeriesTable') frames = trends(frames, step.options);
    else frames = await lastValueFrom(grafana.transformDataFrame([step], frames));
  }
  return grafana.applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: settings,
    replaceVariables: followed,
    theme,
    timeZone: 'utc',
  });
}

/** What is wrong with a panel that has no data: something stands where its sentence should. */
function* faultsOfEmpty({ panel }, frames) {
  const names = frames.flatMap((frame) => frame.fields.map((field) => field.name));
  if (names.length) yield `without data it shows ${names} instead of its sentence`;
  if (panel.type !== 'stat') return;
  // What a stat shows then, as Grafana makes it.
  const { text, color } = grafana.getDisplayProcessor({ field: { type: FieldType.other, config: panel.fieldConfig.defaults }, theme })(null);
  if (text !== panel.fieldConfig.defaults.noValue) yield `without data it says ${text}`;
  if (color !== theme.colors.text.primary) yield `without data it is coloured ${color}`;
}

/** What is wrong with a panel. */
function* faults(one, frames) {
  if (one.answers.every((result) => !result.length)) {
    yield* faultsOfEmpty(one, frames);
    return;
  }
  const { panel, headings, optional } = one;
  const fields = frames.flatMap((frame) => frame.fields.map((field) => ({ frame, field })));
  const names = fields.map(({ frame, field }) => getFieldDisplayName(field, frame, frames));
  for (const { matcher } of panel.fieldConfig.overrides) {
    const matches = grafana.fieldMatchers.get(matcher.id).get(matcher.options);
    const isThere = fields.some(({ frame, field }) => matches(field, frame, frames));
    if (!isThere && !optional.includes(matcher.options)) yield `no field is called ${matcher.options}: ${names}`;
  }
  if (headings.length) {
    if (frames.length !== 1) yield `it has ${frames.length} tables`;
    const known = names.filter((name) => headings.includes(name));
    const wanted = headings.filter((name) => known.includes(name) || !optional.includes(name));
    if (String(names) !== String(wanted)) yield `its columns are ${names}, not ${wanted}`;
  }
  if (panel.type === 'bargauge') {
    const odd = names.filter((name) => name !== 'Time' && !/^(\d+|\d+ (min|h|d)|more|longer)$/.test(name));
    if (odd.length) yield `it has bars called ${odd}`;
  }
  for (const { frame, field } of fields) {
    if (!['table', 'barchart'].includes(panel.type) || field.type === FieldType.frame) continue;
    const name = getFieldDisplayName(field, frame, frames);
    for (let row = 0; row < frame.length; row++) {
      const { text } = field.display(field.values[row]);
      if (text === panel.fieldConfig.defaults.noValue) yield `a cell of ${name} says ${text}`;
      for (const { href } of field.config.links ? field.getLinks({ valueRowIndex: row }) : []) {
        if (!/^https:\/\/gitlab\.example\.com\/[\w./-]+(\?[\w=&]+)?$/.test(href)) yield `it links to ${href}`;
      }
    }
  }
}

const panels = JSON.parse(readFileSync(process.argv[2], 'utf8'));
for (const one of panels) {
  for (const fault of new Set(faults(one, await drawn(one)))) console.log(`${one.name}: ${fault}`);
}
console.log(`${panels.length} panels drawn`);
