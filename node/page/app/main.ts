import { connect, type LightConsumer, newKey, type Receipt, SinterError, TRUST_STATEMENT } from '../../light.ts'
import type { PageConfig } from '../serve.ts'
import { createPad, SAMPLES } from './drawing.ts'
import { createSteps } from './steps.ts'

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T
const connection = find('connection')
const answer = find('answer')
const bars = find('bars')
const ask = find<HTMLButtonElement>('ask')
const sample = find<HTMLSelectElement>('sample')
const money = find('money')
const steps = createSteps(find('steps'))
const pad = createPad(find<HTMLCanvasElement>('pad'), () => {
  sample.value = ''
})

const UNIT = 10n ** 18n
const CEILING = UNIT / 10n
const POLL_MS = 500

const tokens = (amount: bigint): string => `${Number((amount * 1_000_000n) / UNIT) / 1_000_000} SNTR`
const short = (address: string): string => `${address.slice(0, 8)}…`
const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

function say(state: 'busy' | 'up' | 'down', text: string): void {
  connection.dataset.state = state
  connection.textContent = text
}

/** What the error is and what to do, in one line. */
const explain = (error: unknown): string =>
  error instanceof SinterError ? `${error.message} (${error.code})` : String(error)

/** The account's key stays in this browser. */
function ownKey(network: string): Uint8Array {
  const place = `sinter-key-${network}`
  const known = localStorage.getItem(place)
  if (known !== null) return Uint8Array.from(known.split(','), Number)
  const key = newKey()
  localStorage.setItem(place, key.join())
  return key
}

async function open(): Promise<{ client: LightConsumer; config: PageConfig }> {
  say('busy', 'Connecting to the network…')
  const response = await fetch('./config.json')
  if (!response.ok) throw new Error(`the page was not told which network to join (${response.status})`)
  const config = (await response.json()) as PageConfig
  const client = await connect({
    ...config,
    key: ownKey(config.network.name),
    ceiling: CEILING,
    audit: 0,
    scheduler: {
      providers: 1,
      sessionJobs: 16,
      windowMs: 15_000,
      openMs: 60_000,
      bids: 3,
      onBids(bids, chosen) {
        steps.set('offer', 'done')
        const lines = bids.map(
          ({ provider, price, expectedLatencyMs }) =>
            `${short(provider)} asks ${tokens(price)}, expects ${expectedLatencyMs} ms${provider === chosen.provider ? ' ← taken' : ''}`,
        )
        steps.set('bids', 'done', lines.join('\n'))
        steps.set('answer', 'busy', 'Reserving money on the chain, then sending the drawing…')
      },
    },
  })
  if (config.faucet) {
    say('busy', 'Getting play money from the local network’s faucet…')
    const given = await fetch('./faucet', { method: 'POST', body: client.address })
    if (!given.ok) throw new Error(`the faucet gave nothing (${given.status})`)
  }
  return { client, config }
}

function showAnswer(logits: Float32Array): void {
  const top = Math.max(...logits)
  const weights = Array.from(logits, (logit) => Math.exp(logit - top))
  const sum = weights.reduce((a, b) => a + b)
  const shares = weights.map((weight) => weight / sum)
  const digit = logits.indexOf(top)
  const big = document.createElement('p')
  big.className = 'digit'
  big.textContent = String(digit)
  const sure = document.createElement('p')
  sure.textContent = `It says ${digit}, ${(100 * shares[digit]!).toFixed(1)}% sure.`
  answer.replaceChildren(big, sure)
  bars.replaceChildren(
    ...shares.map((share, i) => {
      const item = document.createElement('li')
      const meter = document.createElement('meter')
      meter.value = share
      meter.setAttribute('aria-hidden', 'true')
      const [name, percent] = [document.createElement('span'), document.createElement('span')]
      name.textContent = String(i)
      percent.textContent = `${(100 * share).toFixed(1)}%`
      item.append(name, meter, percent)
      return item
    }),
  )
  bars.hidden = false
}

/** The question whose steps are shown: an older one stops writing. */
let current = 0

/** Follows a receipt to its end. What the chain says comes from its endpoint; what was checked, from the page itself. */
async function follow(receipt: Receipt, question: number): Promise<void> {
  const shown = (): boolean => question === current
  steps.set('receipt', 'busy')
  await receipt.acknowledged()
  if (!shown()) return
  steps.set('receipt', 'done', `No. ${receipt.id.split('-')[1]} of session ${short(receipt.id)}`)
  steps.set('anchored', 'busy', 'The provider collects receipts for some seconds first.')
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    if (!shown()) return
    const { state, batch } = receipt.status()
    const checks = receipt.checks()
    if (batch === null) continue
    const at = ['anchored', 'traced', 'committed', 'slashPending', 'paid'].indexOf(batch.status)
    steps.set('anchored', 'done', `Batch ${short(batch.id)}`)
    if (at === 0) steps.set('traced', 'busy')
    if (at >= 1) {
      steps.set('traced', 'done')
      if (checks?.attestation == null)
        steps.set('attested', 'busy', at === 1 ? 'The provider makes its proofs.' : 'Fetching and checking the proofs.')
    }
    if (checks?.attestation != null) {
      const { verdicts, jobs, proofs, leaves, faults, seconds } = checks.attestation
      const good = verdicts.every((verdict) => verdict === 'valid')
      const checked = `${plural(proofs, 'proof')} and ${leaves} opened commitments of ${plural(jobs, 'drawn job')}, checked here in ${seconds.toFixed(1)} s`
      steps.set(
        'attested',
        good ? 'done' : 'failed',
        good ? `${checked}: all hold.` : `${checked}: ${faults.join('; ') || verdicts.join(', ')}`,
      )
    }
    if (at === 2) steps.set('quorum', 'busy')
    if (checks?.quorum != null) {
      const { votes, members, ok } = checks.quorum
      steps.set('quorum', ok ? 'done' : 'failed', `${votes} of ${members} members signed the same finding.`)
    }
    if (state === 'refused')
      return steps.set('settled', 'failed', `The batch ended ${batch.status}: what was paid comes back.`)
    if (state === 'verified') steps.set('settled', 'busy')
    if (state === 'settled') {
      steps.set('settled', 'done', `${tokens(receipt.price)} for this answer.`)
      // The last check may still be under way, or impossible: then its step says nothing.
      if (checks?.attestation != null && checks.quorum != null) return
    }
  }
}

async function question(client: LightConsumer, model: string): Promise<void> {
  const image = pad.image()
  if (image === null) {
    answer.textContent = 'There is nothing to ask about: draw a digit first.'
    return
  }
  const mine = ++current
  steps.reset()
  ask.disabled = true
  bars.hidden = true
  answer.textContent = 'Asking…'
  money.textContent = ''
  steps.set('offer', 'busy', `At most ${tokens(CEILING)} for an answer.`)
  steps.set('bids', 'busy')
  try {
    const { outputs, latencyMs, executionMs, receipt } = await client.infer(
      model,
      { image },
      { timeoutMs: 90_000, hedgeMs: false },
    )
    // With a session that is open already there is neither offer nor bid: a second question goes straight down the stream.
    const [offer] = document.querySelectorAll<HTMLElement>('[data-step="offer"][data-state="busy"]')
    if (offer !== undefined)
      for (const name of ['offer', 'bids'] as const)
        steps.set(name, 'done', 'Not needed: the session with this provider is still open.')
    showAnswer(outputs.logits!.data)
    steps.set(
      'answer',
      'done',
      `From ${short(receipt.provider)} in ${latencyMs.toFixed(0)} ms; the model itself took ${executionMs.toFixed(1)} ms.`,
    )
    money.textContent = `This answer costs ${tokens(receipt.price)}; ${tokens(client.spent)} spent so far. The provider ${receipt.provider} has seen your drawing.`
    ask.disabled = false
    await follow(receipt, mine)
  } catch (error) {
    if (mine !== current) return
    answer.textContent = explain(error)
    const busy = document.querySelector<HTMLElement>('[data-state="busy"][data-step]')
    if (busy !== null) steps.set(busy.dataset.step as Parameters<typeof steps.set>[0], 'failed')
  } finally {
    ask.disabled = false
  }
}

for (let digit = 0; digit < SAMPLES.length; digit++) sample.append(new Option(String(digit), String(digit)))
sample.addEventListener('change', () => {
  if (sample.value === '') return
  pad.clear()
  for (const stroke of SAMPLES[Number(sample.value)]!) pad.stroke(stroke)
})
find('clear').addEventListener('click', () => {
  pad.clear()
  sample.value = ''
})
find('trust').textContent = TRUST_STATEMENT

// Never answered to its end: whoever serves the page sees that it is open.
fetch('./presence').catch(() => {})

try {
  const { client, config } = await open()
  say('busy', 'Fetching the model from peers and checking it…')
  const { name } = await client.model(config.model)
  const showConnection = (): void => {
    const addresses = client.connections()
    const over = (kind: string): number => addresses.filter((address) => address.includes(kind)).length
    const how = `${over('/ws')} by WebSocket, ${over('/webrtc')} by WebRTC`
    const peers = `${plural(addresses.length, 'connection')} to nodes (${how})`
    say(
      'up',
      `On ${config.network.name}, ${peers}; model “${name}” fetched from peers and checked; account ${short(client.address)}`,
    )
  }
  showConnection()
  setInterval(showConnection, 2_000)
  ask.disabled = false
  ask.addEventListener('click', () => void question(client, config.model))
} catch (error) {
  say('down', `Not connected: ${explain(error)}. Reload the page to try again.`)
}
