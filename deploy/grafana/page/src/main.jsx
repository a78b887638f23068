// Draws one dashboard (?dashboard=UID&from=…&to=…) on Grafana's grid of 24 columns, and says of each panel whether it
// shows data: data-state is loading, data, empty or error.
import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext, dateTime, getDisplayProcessor, reduceField } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PortalContainer, TimeSeries } from '@grafana/ui';
import { initPluginTranslations } from '@grafana/i18n';
import { frames, theme } from './data.js';

const WIDTH = 1600;
const CELL = 38;
const GAP = 8;

function Lines({ data, width, height, range }) {
  const time = (seconds) => dateTime(seconds * 1000);
  const shown = { from: time(range.from), to: time(range.to), raw: { from: 'now-15m', to: 'now' } };
  const legend = { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] };
  return <TimeSeries frames={data} width={width} height={height} timeRange={shown} timeZone="utc" legend={legend} />;
}

function Figure({ data, width, height }) {
  const field = data[0].fields[1];
  const last = reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull;
  const value = (field.display || getDisplayProcessor({ field, theme }))(last);
  return <BigValue value={value} theme={theme} width={width} height={height} colorMode="value" graphMode="none" />;
}

function Panel({ panel, range }) {
  const [{ data, error }, set] = useState({});
  useEffect(() => {
    frames(panel, range).then((found) => set({ data: found }), (failure) => set({ error: String(failure) }));
  }, []);
  const place = panel.gridPos;
  const state = error ? 'error' : !data ? 'loading' : data.length ? 'data' : 'empty';
  const Body = panel.type === 'stat' ? Figure : Lines;
  const corner = { position: 'absolute', left: (WIDTH / 24) * place.x + GAP / 2, top: place.y * CELL + GAP / 2 };
  return (
    <div style={corner} data-title={panel.title} data-state={state}>
      <PanelChrome title={panel.title} width={(WIDTH / 24) * place.w - GAP} height={place.h * CELL - GAP} statusMessage={error}>
        {(width, height) =>
          state === 'data' ? <Body data={data} width={width} height={height} range={range} /> : <div>{error || state}</div>
        }
      </PanelChrome>
    </div>
  );
}

function Row({ panel }) {
  const corner = { position: 'absolute', left: GAP, top: panel.gridPos.y * CELL + GAP, color: '#ccccdc', fontSize: 18 };
  return <div style={corner}>{panel.title}</div>;
}

function Dashboard({ dashboard, range }) {
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PortalContainer />
      <div style={{ position: 'relative', width: WIDTH, height }}>
        {dashboard.panels.map((panel) =>
          panel.type === 'row' ? <Row key={panel.id} panel={panel} /> : <Panel key={panel.id} panel={panel} range={range} />
        )}
      </div>
    </ThemeContext.Provider>
  );
}

const asked = new URLSearchParams(location.search);
await initPluginTranslations('grafana-ui');
const dashboard = await (await fetch(`/${asked.get('dashboard')}.json`)).json();
const range = { from: Number(asked.get('from')), to: Number(asked.get('to')), step: 2, rateInterval: '10s' };
createRoot(document.getElementById('root')).render(<Dashboard dashboard={dashboard} range={range} />);
