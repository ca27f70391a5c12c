import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import chromium, { inflate } from '@sparticuz/chromium'
import { type Browser, chromium as engine, type Page } from 'playwright-core'
import { assetPath } from '../../protocol/assets.ts'

/** What somebody at the demo page saw of one digit, from the mouse to the money. */
export type Visit = {
  /** What the page says of its connection at the end. */
  connection: string
  digit: string
  money: string
  sees: string
  /** Text and state of every step at the end. */
  steps: Record<string, { state: string; said: string }>
  /** Blocks of the model in the page's IndexedDB. */
  kept: number
  /** Widest content at phone width, in CSS pixels. */
  phoneWidth: number
  /** Errors that the page's console or its scripts had. */
  errors: string[]
}

/** Real headless Chromium from npm. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = await chromium.executablePath()
  const args = ['--no-sandbox', '--headless=new', '--disable-gpu', '--disable-dev-shm-usage']
  try {
    return await engine.launch({ executablePath, args })
  } catch (error) {
    if (!String(error).includes('error while loading shared libraries')) throw error
    // A machine without the few system libraries that Chromium links: the package brings them.
    const archive = new URL('../bin/al2023.tar.br', import.meta.resolve('@sparticuz/chromium'))
    const libraries = join(await inflate(fileURLToPath(archive)), 'lib')
    return await engine.launch({ executablePath, args, env: { ...process.env, LD_LIBRARY_PATH: libraries } })
  }
}

/** A seven, drawn with the mouse: across, then down. */
async function drawSeven(page: Page): Promise<void> {
  const box = (await page.locator('#pad').boundingBox())!
  const at = (x: number, y: number): [number, number] => [box.x + x * box.width, box.y + y * box.height]
  await page.mouse.move(...at(0.3, 0.18))
  await page.mouse.down()
  await page.mouse.move(...at(0.7, 0.18), { steps: 8 })
  await page.mouse.move(...at(0.45, 0.84), { steps: 12 })
  await page.mouse.up()
  await page.mouse.move(...at(0.36, 0.52))
  await page.mouse.down()
  await page.mouse.move(...at(0.68, 0.52), { steps: 6 })
  await page.mouse.up()
}

const inState = (step: string, ...states: string[]): string =>
  states.map((state) => `[data-step="${step}"][data-state="${state}"]`).join(', ')

/**
 * Draws a digit on the page and waits until it is paid for.
 * @param shots folder for screenshots. @default none are taken
 */
export async function visit(browser: Browser, url: string, timeoutMs: number, shots?: string): Promise<Visit> {
  const errors: string[] = []
  const page = await browser.newPage({ viewport: { width: 900, height: 1180 }, colorScheme: 'light' })
  page.setDefaultTimeout(timeoutMs)
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  const shoot = async (name: string): Promise<void> => {
    if (shots === undefined) return
    mkdirSync(shots, { recursive: true })
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
  }
  await page.goto(url)
  await page.waitForSelector('#connection[data-state="up"], #connection[data-state="down"]')
  const joined = (await page.getAttribute('#connection', 'data-state')) === 'up'
  await drawSeven(page)
  if (joined) {
    await page.click('#ask')
    await page.waitForSelector(`${inState('receipt', 'done')}, ${inState('answer', 'failed')}`)
    await shoot('answer')
    await page.waitForSelector(inState('settled', 'done', 'failed'))
    await page.waitForSelector(inState('quorum', 'done', 'failed'))
    await page.waitForSelector(inState('attested', 'done', 'failed'))
    await shoot('settled')
  }
  const steps = await page.$$eval('[data-step]', (items) =>
    Object.fromEntries(
      items.map((item) => [
        item.getAttribute('data-step'),
        { state: item.getAttribute('data-state') ?? '', said: item.querySelector('.said')?.textContent ?? '' },
      ]),
    ),
  )
  const text = async (selector: string): Promise<string> => (await page.textContent(selector)) ?? ''
  const seen = {
    connection: await text('#connection'),
    digit: await text('#answer'),
    money: await text('#money'),
    sees: await text('#sees'),
  }
  const kept = await page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open('sinter/blocks')
        opening.onerror = () => reject(opening.error)
        opening.onupgradeneeded = () => reject(new Error('the page keeps no blocks'))
        opening.onsuccess = () => {
          const counting = opening.result.transaction('files').objectStore('files').count()
          counting.onsuccess = () => resolve(counting.result)
          counting.onerror = () => reject(counting.error)
        }
      }),
  )
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.setViewportSize({ width: 360, height: 740 })
  const phoneWidth = await page.evaluate(() => document.documentElement.scrollWidth)
  await shoot('phone-dark')
  await page.close()
  return { ...seen, steps, kept, phoneWidth, errors }
}

/** Where the README's pictures lie. */
export const PICTURES = assetPath('node/page/pictures')
