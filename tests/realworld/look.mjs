// Pictures of Home Assistant's pages by a real browser: look.mjs PLAYWRIGHT_FOLDER BASE_URL PAGES.json
// PAGES: [{"path": "/config/devices/device/…", "out": "device.png"}]. A page that logs an error makes it fail.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, base, pages] = process.argv.slice(2);
const { chromium } = createRequire(`${folder}/package.json`)("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 2600 } });
  page.on("pageerror", (error) => console.log(`page error: ${error}`));
  await page.goto(`${base}/`, { waitUntil: "load" });
  await page.locator('input[name="username"]').first().fill("owner");
  await page.locator('input[name="password"]').first().fill("owner-secret");
  await page.keyboard.press("Enter");
  await page.waitForSelector("home-assistant-main", { timeout: 30000, state: "attached" });
  for (const { path, out } of JSON.parse(readFileSync(pages))) {
    await page.goto(base + path, { waitUntil: "load" });
    await page.waitForSelector("home-assistant-main", { timeout: 30000, state: "attached" });
    await page.waitForTimeout(4000);
    await page.screenshot({ path: out });
  }
} finally {
  await browser.close();
}
