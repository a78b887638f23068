// Asks Prometheus what a panel asks, and returns what Grafana's components draw.
import {
  FieldConfigOptionsRegistry, FieldType, applyFieldOverrides, createTheme, displayNameOverrideProcessor,
  identityOverrideProcessor, numberOverrideProcessor, standardFieldConfigEditorRegistry, thresholdsOverrideProcessor,
  toDataFrame, unitOverrideProcessor, valueMappingsOverrideProcessor,
} from '@grafana/data';

export const theme = createTheme({ colors: { mode: 'dark' } });

// Grafana's server registers these itself; the libraries leave it to whoever uses them.
const option = (id, process, path = id, isCustom = false) => ({
  id, path, name: id, isCustom, process, shouldApply: () => true, editor: () => null, override: () => null, settings: {},
});
const standard = [
  option('unit', unitOverrideProcessor), option('min', numberOverrideProcessor), option('max', numberOverrideProcessor),
  option('decimals', numberOverrideProcessor), option('displayName', displayNameOverrideProcessor),
  option('mappings', valueMappingsOverrideProcessor), option('thresholds', thresholdsOverrideProcessor),
  option('color', identityOverrideProcessor), option('noValue', identityOverrideProcessor),
];
standardFieldConfigEditorRegistry.setInit(() => standard);
const CUSTOM = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, showPoints: 'never', pointSize: 5,
  axisPlacement: 'auto', scaleDistribution: { type: 'linear' }, stacking: { mode: 'none', group: 'A' },
  hideFrom: { legend: false, tooltip: false, viz: false }, spanNulls: false, gradientMode: 'none',
  lineStyle: { fill: 'solid' }, thresholdsStyle: { mode: 'off' }, axisColorMode: 'text', axisBorderShow: false,
  axisCenteredZero: false, axisSoftMax: undefined, barAlignment: 0,
};
const registry = new FieldConfigOptionsRegistry(() => [
  ...standard,
  ...Object.keys(CUSTOM).map((key) => option(`custom.${key}`, identityOverrideProcessor, key, true)),
]);

function fieldConfig({ defaults = {}, overrides = [] } = {}) {
  const colour = { mode: 'palette-classic' };
  return { overrides, defaults: { color: colour, ...defaults, custom: { ...CUSTOM, ...(defaults.custom || {}) } } };
}

function named(target, labels) {
  if (target.legendFormat === '__auto') {
    return Object.entries(labels).filter(([key]) => key !== '__name__').map(([, value]) => value).join(' ') || 'value';
  }
  return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

async function ask(target, range) {
  const query = target.expr.replaceAll('$__rate_interval', range.rateInterval).replaceAll('$namespace', '.*');
  const asked = new URLSearchParams({ query, start: range.from, end: range.to, step: range.step });
  const answer = await (await fetch(`/prometheus/api/v1/query_range?${asked}`)).json();
  if (answer.status !== 'success') {
    throw new Error(`${target.refId}: ${answer.error}`);
  }
  return answer.data.result;
}

// A series has a value at each step; Prometheus leaves out those that it has none for.
function values(series, range) {
  const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);
  const known = new Map(series.values.map(([time, value]) => [Math.round(time), number(value)]));
  const times = [];
  for (let time = range.from; time <= range.to; time += range.step) {
    times.push(time);
  }
  return [times.map((time) => time * 1000), times.map((time) => known.get(time) ?? null)];
}

export async function frames(panel, range) {
  const data = [];
  for (const target of panel.targets) {
    for (const series of await ask(target, range)) {
      const name = named(target, series.metric);
      const [times, found] = values(series, range);
      const fields = [
        { name: 'Time', type: FieldType.time, values: times, config: {} },
        { name: 'Value', type: FieldType.number, labels: series.metric, config: { displayNameFromDS: name }, values: found },
      ];
      if (found.some(Number.isFinite)) {
        data.push(toDataFrame({ refId: target.refId, name, fields }));
      }
    }
  }
  return applyFieldOverrides({
    data, fieldConfig: fieldConfig(panel.fieldConfig), fieldConfigRegistry: registry, theme, timeZone: 'utc',
    replaceVariables: (value) => value,
  });
}
