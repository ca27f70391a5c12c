export type StepName =
  | 'offer'
  | 'bids'
  | 'answer'
  | 'receipt'
  | 'anchored'
  | 'traced'
  | 'attested'
  | 'quorum'
  | 'settled'
export type StepState = 'waiting' | 'busy' | 'done' | 'failed'

type Step = { name: StepName; title: string; about: string }

const STEPS: readonly Step[] = [
  {
    name: 'offer',
    title: 'Offer',
    about:
      'The page tells the nodes it is connected to which model it wants to run and what it pays at most. They pass it on to all others. The drawing is not in it.',
  },
  {
    name: 'bids',
    title: 'Bids',
    about:
      'Nodes that have the model name a price. The page takes the best price and reserves some of its money for that node on the chain.',
  },
  {
    name: 'answer',
    title: 'Answer',
    about:
      'The drawing goes straight to the chosen node, the provider, over an encrypted connection, and the answer comes back the same way.',
  },
  {
    name: 'receipt',
    title: 'Receipt, signed by both',
    about:
      'Both sides sign fingerprints of what went in and what came out, and the price. From here on the provider cannot claim to have computed something else.',
  },
  {
    name: 'anchored',
    title: 'Receipts fixed on the chain',
    about:
      'The provider puts a fingerprint of all its recent receipts on the chain. Chance then draws the jobs it has to prove.',
  },
  {
    name: 'traced',
    title: 'Computation fixed on the chain',
    about:
      'For the drawn jobs the provider fixes every intermediate value before it knows which of them will be asked for.',
  },
  {
    name: 'attested',
    title: 'Attestation, checked in this page',
    about:
      'Zero-knowledge proofs that randomly chosen pieces of the computation are right, without showing the data. A committee checks them, and so does this page. Pieces that were not drawn are not looked at: cheating is caught by chance, and costs more than it saves.',
  },
  {
    name: 'quorum',
    title: 'Votes of the committee',
    about:
      'Nodes drawn by chance vote on what they found. This page checks their signatures and that there are enough of them.',
  },
  {
    name: 'settled',
    title: 'Paid',
    about: 'The contract pays the provider and the voters out of the reserve. A part of the fee is destroyed.',
  },
]

const MARKS: Record<StepState, [sign: string, word: string]> = {
  waiting: ['○', 'to come'],
  busy: ['◐', 'under way'],
  done: ['✓', 'done'],
  failed: ['✗', 'failed'],
}

export type StepList = {
  reset(): void
  /** @param said one line or more of what happened */
  set(name: StepName, state: StepState, said?: string): void
}

const element = (tag: string, className: string, text = ''): HTMLElement => {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = text
  return made
}

export function createSteps(list: HTMLElement, now: () => number = () => performance.now()): StepList {
  let started = now()
  const items = new Map<StepName, HTMLElement>()
  for (const { name, title, about } of STEPS) {
    const item = element('li', '')
    item.dataset.step = name
    const more = element('details', '')
    more.append(element('summary', '', 'What is that?'), element('p', '', about))
    item.append(
      element('span', 'mark'),
      element('span', 'title', title),
      element('span', 'when'),
      element('span', 'said'),
      more,
    )
    list.append(item)
    items.set(name, item)
  }

  function set(name: StepName, state: StepState, said?: string): void {
    const item = items.get(name)!
    const part = (className: string): HTMLElement => item.querySelector<HTMLElement>(`.${className}`)!
    const ended = state === 'done' || state === 'failed'
    if (ended && item.dataset.state !== state) part('when').textContent = `${((now() - started) / 1000).toFixed(1)} s`
    if (!ended) part('when').textContent = ''
    item.dataset.state = state
    const [sign, word] = MARKS[state]
    part('mark').textContent = sign
    part('mark').setAttribute('aria-label', word)
    part('mark').setAttribute('role', 'img')
    if (said !== undefined) part('said').textContent = said
  }

  const reset = (): void => {
    started = now()
    for (const { name } of STEPS) set(name, 'waiting', '')
  }
  reset()
  return { reset, set }
}
