// The pages of the HTTP API in a real Chromium. ADMIN_URL says where they are; the database has run statements whose
// texts and names are HTML. SHOTS, a folder, gets pictures to look at.
"use strict";
const assert = require("node:assert");
const { chromium } = require("playwright-core");

const url = process.env.ADMIN_URL;
const MOST_BYTES = 40 * 1024;

async function visit(browser, options, path, look) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("dialog", (dialog) => { faults.push(`a script ran: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (line) => { if (line.type() === "error") faults.push(line.text()); });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) faults.push(`asks elsewhere: ${request.url()}`);
  });
  const answer = await page.goto(url + path);
  await look(page, answer);
  if (process.env.SHOTS) {
    const name = [path.replace(/\W+/g, "_"), options.colorScheme ?? "", options.viewport?.width ?? ""].join("-");
    await page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
  }
  assert.deepStrictEqual(faults, [], path);
  await context.close();
}

const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const statements = (page) => page.locator("td.sql > a").allTextContents();

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });

  await visit(browser, {}, "/", async (page, answer) => {
    assert.ok((await answer.body()).length < MOST_BYTES, "the first page is small");
    assert.match(await page.locator("#live").innerText(), /app@/);
    assert.ok(await page.locator("td svg rect").count() > 3, "bars");
    // It goes on by itself: a mark on what is shown is gone when it is replaced.
    await page.evaluate(() => { document.getElementById("live").dataset.mark = "old"; });
    await page.waitForFunction(() => !document.getElementById("live").dataset.mark, null, { timeout: 10_000 });
    assert.strictEqual(await page.locator("#beat").innerText(), "live");
  });

  // Without scripts the first view is complete, and headings still sort.
  await visit(browser, { javaScriptEnabled: false }, "/queries?q=generate_series", async (page) => {
    assert.strictEqual((await statements(page)).length, 2);
    await page.locator("button.sort", { hasText: "calls" }).click();
    const asked = new URL(page.url()).searchParams;
    assert.deepStrictEqual([asked.get("sort"), asked.get("q")], ["calls", "generate_series"]);
    const sorted = page.locator("button.sort[aria-current=true]");
    assert.strictEqual(await sorted.innerText(), "calls");
    await page.locator("td.sql > a").first().click();
    assert.match(await page.locator("h1").innerText(), /SELECT/);
    assert.match(await page.locator("main svg").innerHTML(), /100\.0 %/);
  });

  const seen = {};
  for (const colorScheme of ["light", "dark"]) {
    await visit(browser, { colorScheme }, "/queries", async (page) => {
      seen[colorScheme] = await background(page);
      assert.ok((await statements(page)).some((text) => text.includes("<script>")), "texts are shown as they are");
    });
  }
  assert.notStrictEqual(seen.light, seen.dark);

  for (const path of ["/", "/queries", "/pools", "/slow", "/clients", "/routes", "/nplusone", "/idle", "/compat"]) {
    await visit(browser, { viewport: { width: 375, height: 800 } }, path, async (page) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 375, `${path} is ${width} wide on a telephone`);
    });
  }

  const lists = ["/pools", "/clients", "/servers", "/databases", "/compat", "/slow", "/queries", "/routes", "/nplusone", "/idle"];
  for (const path of lists) {
    await visit(browser, { javaScriptEnabled: false }, path, async (page, answer) => {
      assert.strictEqual(answer.status(), 200, path);
      assert.ok((await answer.body()).length < MOST_BYTES, `${path} is small`);
      assert.strictEqual(await page.locator("main pre").count(), 0, `${path} is no mere text`);
      assert.strictEqual(await page.locator("nav a[aria-current]").innerText(), path.slice(1));
    });
  }
  // From a route to its statements, and from one of them to its route and its calls.
  await visit(browser, { javaScriptEnabled: false }, "/routes", async (page) => {
    await page.locator("td.l > a", { hasText: "<b>shop" }).first().click();
    assert.match(await page.locator("h1").innerText(), /route \/<b>shop\//);
    await page.locator("td.sql > a", { hasText: "tagged" }).first().click();
    assert.match(await page.locator("pre.sql").innerText(), /tagged/);
    assert.strictEqual(await page.locator("td.l > a", { hasText: "<b>shop" }).count(), 1);
    await page.locator("a", { hasText: "Single calls" }).click();
    assert.match(await page.locator("td").first().innerText(), /slowest/);
    await page.locator("h1 a").click();
    assert.match(await page.locator("pre.sql").innerText(), /tagged/);
  });
  await browser.close();
  console.log("pages are fine");
}

main().catch((error) => { console.error(error); process.exit(1); });
