// Opens the page in headless Chromium, types a text, trains, and saves a picture while it trains:
// `node watch.mjs URL STEPS PICTURE` prints the loss of that step. Needs puppeteer-core, and Chromium in $CHROMIUM or the path.
import { execFileSync } from 'node:child_process';
import puppeteer from 'puppeteer-core';

const [url, steps, picture] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM ?? execFileSync('sh', ['-c', 'command -v chromium || command -v chromium-browser || command -v google-chrome'], { encoding: 'utf8' }).trim();
const browser = await puppeteer.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
try {
  const page = await browser.newPage();
  page.on('pageerror', (e) => console.error(String(e)));
  await page.setViewport({ width: 820, height: 800 });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector('#about').textContent !== 'Loading step.onnx …', { timeout: 60_000 });
  if (await page.$('#train:disabled')) throw new Error(await page.$eval('#about', (e) => e.textContent));
  await page.$eval('#text', (e) => { e.value = ''; });
  await page.type('#text', 'She sells sea shells by the sea shore. The shells she sells are sea shells, I am sure. ');
  await page.click('#train');
  await page.waitForFunction((n) => {
    const text = document.querySelector('#status').textContent;
    return text.startsWith('Failed') || Number(/^step (\d+)/.exec(text)?.[1]) >= n;
  }, { timeout: 300_000, polling: 'mutation' }, Number(steps));
  const status = await page.$eval('#status', (e) => e.textContent);
  if (!status.startsWith('step')) throw new Error(status);
  await page.screenshot({ path: picture });
  console.log(/loss ([\d.]+)/.exec(status)[1]);
} finally {
  await browser.close();
}
