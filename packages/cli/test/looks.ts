import { assert } from "@effect/vitest"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { inflateSync } from "node:zlib"
import type { Page } from "./chromium.ts"

/** Where the pictures are kept for people to look at. */
const folder = join(import.meta.dirname, ".screenshots")

const sizes = [[1100, "light"], [1100, "dark"], [360, "light"], [360, "dark"]] as const

/** The width of a PNG, and the brightness of its first pixel. */
const seen = (png: Buffer) => {
  const data: Array<Buffer> = []
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") {
      data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)))
    }
  }
  // No filter changes the first pixel of the first line, which has nothing to its left and nothing above.
  const [, red = 0, green = 0, blue = 0] = inflateSync(Buffer.concat(data))
  return { width: png.readUInt32BE(16), brightness: (red + green + blue) / 3 }
}

/** What is not within the page from left to right, and what scrolls by itself, by its tag and class. */
const outside = `[...document.querySelectorAll("body *")].filter((one) => {
  const { left, right } = one.getBoundingClientRect()
  return left < 0 || right > innerWidth || one.matches(".scroll") && one.scrollWidth > one.clientWidth
}).map((one) => one.tagName + "." + one.getAttribute("class"))`

/** Labels that lie over the columns of their chart. */
const covered = `[...document.querySelectorAll(".columns .tick")].filter((one) =>
  one.getBoundingClientRect().right > one.closest("svg").getBoundingClientRect().left
).map((one) => one.textContent)`

/** Opens a report as a desk and a phone show it, light and dark, keeps a picture of each, and checks what a reader needs. */
export const looksRight = async (page: Page, file: string, name: string): Promise<void> => {
  await mkdir(folder, { recursive: true })
  for (const [width, scheme] of sizes) {
    await page.send("Emulation.setDeviceMetricsOverride", {
      width,
      height: 800,
      deviceScaleFactor: 1,
      mobile: width < 500
    })
    await page.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] })
    await page.open(`file://${file}`)
    const height = await page.evaluate("document.documentElement.scrollHeight")
    const { data } = await page.send("Page.captureScreenshot", {
      captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height, scale: 1 }
    })
    const png = Buffer.from(String(data), "base64")
    await writeFile(join(folder, `${name}-${width}-${scheme}.png`), png)
    assert.strictEqual(await page.evaluate("document.documentElement.scrollWidth"), width)
    assert.deepStrictEqual(await page.evaluate(outside), [], `${width} ${scheme}`)
    assert.deepStrictEqual(await page.evaluate(covered), [], `${width} ${scheme}`)
    const { brightness, width: drawn } = seen(png)
    assert.strictEqual(drawn, width)
    assert.strictEqual(brightness > 128 ? "light" : "dark", scheme)
  }
  const asked = page.events.flatMap(({ method, params }) =>
    method === "Network.requestWillBeSent" ? [(params["request"] as { url: string }).url] : []
  )
  assert.deepStrictEqual(asked.filter((url) => url !== `file://${file}`), [])
  const complaints = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Audits.issueAdded"]
  assert.deepStrictEqual(page.events.filter(({ method }) => complaints.includes(method)), [])
}
