// Writes a picture of each dashboard, and prints as JSON which state each panel is in:
// node shoot.mjs PAGE FOLDER FROM TO UID...
import { chromium } from 'playwright-core';

const [page, folder, from, to, ...dashboards] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--no-proxy-server'],
});
const states = {};
for (const uid of dashboards) {
  const tab = await browser.newPage({ viewport: { width: 1600, height: 900 } });
  tab.on('pageerror', (error) => console.error(uid, String(error).slice(0, 600)));
  await tab.goto(`${page}/?dashboard=${uid}&from=${from}&to=${to}`);
  await tab.waitForFunction(
    () => {
      const panels = [...document.querySelectorAll('[data-state]')];
      return panels.length > 0 && panels.every((panel) => panel.dataset.state !== 'loading');
    },
    null,
    { timeout: 60000 }
  );
  await tab.waitForTimeout(1500);
  states[uid] = Object.fromEntries(
    await tab.$$eval('[data-state]', (panels) => panels.map((panel) => [panel.dataset.title, panel.dataset.state]))
  );
  await tab.screenshot({ path: `${folder}/${uid}.png`, fullPage: true });
  await tab.close();
}
await browser.close();
console.log(JSON.stringify(states));
