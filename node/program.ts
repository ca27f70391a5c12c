import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { EXECUTION_PROVIDERS } from '../models/session.ts'
import { assetPath } from '../protocol/assets.ts'
import { DEFAULT_IMAGE, defaultHome } from './commands/options.ts'
import type { NodeParts } from './node.ts'

const networkOption = (): Option =>
  new Option('--network <file>', 'network file').env('SINTER_NETWORK').makeOptionMandatory()
const rpcOption = (): Option =>
  new Option('--rpc <urls...>', 'JSON-RPC endpoints of the chain, the preferred one first')
    .env('SINTER_RPC')
    .makeOptionMandatory()

const imageOption = (): Option =>
  new Option(
    '--image <settings>',
    'how pictures become numbers: fit=fill|cover|contain, range=<black>:<white>, mean=<r>:<g>:<b>, std=<r>:<g>:<b>',
  ).default(DEFAULT_IMAGE)

const regionOption = (): Option =>
  new Option('--region <name>', 'where providers had best be, such as eu-west: a hint').default('', 'anywhere')

/** Options of every command that joins a network. */
function joining(command: Command, data: string): Command {
  return command
    .addOption(networkOption())
    .addOption(rpcOption())
    .addOption(
      new Option('--bootstrap <addresses...>', 'multiaddrs of known nodes; one is enough')
        .default([])
        .env('SINTER_BOOTSTRAP'),
    )
    .addOption(new Option('--listen <addresses...>', 'multiaddrs to listen on').default(['/ip4/0.0.0.0/tcp/0']))
    .addOption(new Option('--data <folder>', 'where the key and the state are kept').default(data).env('SINTER_DATA'))
    .addOption(new Option('--password-file <file>', 'password of the key file (else the variable SINTER_PASSWORD)'))
    .addOption(new Option('--log-level <level>', 'trace, debug, info, warn, error or silent').default('info'))
    .addOption(new Option('--devnet', 'a network on this machine only: loopback addresses, quick keys').default(false))
}

/**
 * The command line. Each command's module is loaded when it is called, so `--help` costs nothing.
 * @param parts exchanged parts for the nodes that `up` starts. @default the production ones
 */
export function createProgram(parts?: Partial<NodeParts>): Command {
  const { version } = JSON.parse(readFileSync(assetPath('package.json'), 'utf8')) as { version: string }
  const home = defaultHome()
  const program = new Command('sinter')
    .description(
      'A peer-to-peer network for AI compute: ONNX jobs, attested by zero-knowledge proofs, settled on chain.',
    )
    .version(version)
    .showHelpAfterError()

  program
    .command('devnet')
    .description('run a whole network on this machine with an embedded chain, and the main job on it')
    .option('--nodes <n>', 'nodes, at least 6', '6')
    .option('--jobs <n>', 'held-out images to send', '60')
    .option('--data <folder>', 'folder for keys, stores and logs (default: a temporary one)')
    .option('--keep', 'leave the network up afterwards', false)
    .action(async (options) => (await import('./commands/devnet.ts')).devnet(options))

  joining(program.command('up').description('run one node'), join(home, 'node'))
    .option('--price <tokens>', 'price asked per job', '0.01')
    .option('--stake <tokens>', 'stake to register with; 0 to follow only', '1000')
    .option('--floor-deposit <tokens>', 'escrow balance kept for verification floors', '10')
    .option('--hardware-class <name>', 'class this machine is registered under', 'cpu')
    .option('--region <name>', 'where this machine is, such as eu-west: told in its bids')
    .addOption(
      new Option('--ep <provider>', 'ONNX Runtime execution provider').choices(EXECUTION_PROVIDERS).default('cpu'),
    )
    .option('--devices <list>', 'GPUs or MIG slices to use: numbers or ids of `nvidia-smi -L`, with commas between')
    .option('--sessions <n>', 'sessions of each model per device', '1')
    .option('--memory <mib>', 'memory one model may use', '2048')
    .option('--disk <gib>', 'models and data kept on disk; the least recently used give way (default: 20)')
    .option('--models-memory <mib>', 'memory all loaded models may use (default: three quarters of this machine’s)')
    .option('--vram <mib>', 'memory of each device that loaded models may use (default: no limit but --max-models)')
    .option('--max-models <n>', 'models loaded at once; those used last stay', '4')
    .option('--provers <n>', 'proofs made at once (default: half of the cores)')
    .option(
      '--rapidsnark <path>',
      'a rapidsnark program that makes the proofs; each is verified, and made here if that fails',
    )
    .option('--quiet <seconds>', 'anchor a batch when no voucher came for this long', '5')
    .option('--batch-age <seconds>', 'anchor it at the latest this long after its first voucher', '600')
    .option('--max-gas-price <gwei>', 'most paid for gas; what a deadline waits for may cost ten times as much')
    .option('--confirmations <blocks>', 'depth of forks to be safe from (default: 3, on a devnet 0)')
    .option('--drand <urls...>', 'relays of drand rounds, on networks that use them (default: those of evmnet)')
    .option('--ether-usd <price>', 'price of ether in US dollars, or the address of a Chainlink feed')
    .option('--token-usd <price>', 'price of the token, likewise: batches and claims then wait until gas is 2% of them')
    .option('--claim-from <tokens>', 'withdraw pay, and claim what is minted, from this amount on; 0 never', '10')
    .option(
      '--lanes <n>',
      'lanes of a capacity pulse computed at most, as far as stake and time allow; 0: no pulses',
      '1',
    )
    .option('--canary-account <folder>', 'data folder of your own consumer, whose jobs here become canaries for voters')
    .action(async (options) => (await import('./commands/up.ts')).up(options, parts))

  joining(
    program.command('infer').description('send jobs as a light client and print the answers'),
    join(home, 'client'),
  )
    .requiredOption('--model <cid>', 'CID of the manifest')
    .option(
      '--input <file>',
      'JSON list with the numbers of each job, or integers of a text model; .npy with a job per row; a picture; or a folder of them (default: held-out digits)',
    )
    .addOption(imageOption())
    .option('--count <n>', 'jobs (default: all of --input, else 10)')
    .option('--skip <n>', 'inputs to leave out first', '0')
    .option('--ceiling <tokens>', 'highest price per job', '0.1')
    .option('--window <ms>', 'how long bids are gathered', '4000')
    .option('--bids <n>', 'stop gathering when so many are in')
    .option('--provider <address>', 'take a bid of this provider only')
    .option('--policy <name>', 'how drawn jobs are attested: zk, full or open', 'zk')
    .addOption(regionOption())
    .option('--canonical', 'served by the canonical evaluation: the same bits everywhere, slower', false)
    .option('--audit <share>', 'share of the jobs that a second provider answers too, 0 to 1', '0')
    .option('--replicas <n>', 'providers that all answer every job, canonically; most of them decide', '1')
    .option('--json', 'one JSON object a line', false)
    .action(async (options) => (await import('./commands/infer.ts')).infer(options))

  joining(
    program
      .command('batch <folder-or-cid>')
      .description(
        'run a model on every .json and .npy file and picture of a folder or a sealed data set, by its CID; resumable',
      ),
    join(home, 'client'),
  )
    .requiredOption('--model <cid>', 'CID of the manifest')
    .requiredOption('--out <folder>', 'where results go, one JSON file each')
    .addOption(imageOption())
    .option('--sender <peer id>', 'who sealed the data set, or has it (default: this identity, whoever announced it)')
    .option('--ceiling <tokens>', 'highest price per job', '0.1')
    .option('--limit <tokens>', 'the most that all jobs may cost (default: no limit)')
    .option('--providers <n>', 'providers at once', '3')
    .option('--policy <name>', 'how drawn jobs are attested: zk, full or open', 'zk')
    .addOption(regionOption())
    .option('--json', 'one JSON object a line', false)
    .action(async (from, options) => (await import('./commands/batch.ts')).batch(from, options))

  joining(
    program
      .command('run')
      .description('iterate a graph whose outputs feed its next call, such as a training step; resumable'),
    join(home, 'client'),
  )
    .requiredOption('--model <cid>', 'CID of the manifest')
    .requiredOption('--steps <n>', 'steps of the whole run')
    .requiredOption('--state <path>', 'the state it begins with: a JSON object of lists by input, or a folder of .npy')
    .requiredOption('--out <folder>', 'where the state goes after each step; a run there goes on')
    .option('--feed <folder>', 'inputs that do not come from the step before: a .json or .npy file a step, in turn')
    .option('--replicas <n>', 'providers that compute each step, canonically; most of them decide', '2')
    .option('--policy <name>', 'how drawn steps are attested: zk, full or open', 'zk')
    .option('--ceiling <tokens>', 'highest price per step and provider', '0.1')
    .option('--limit <tokens>', 'the most that all steps may cost (default: no limit)')
    .option('--json', 'one JSON object a line', false)
    .action(async (options) => (await import('./commands/run.ts')).run(options))

  joining(
    program.command('receipt <ids...>').description('where earlier jobs of this account stand'),
    join(home, 'client'),
  )
    .option('--json', 'one JSON object a line', false)
    .action(async (ids, options) => (await import('./commands/receipt.ts')).receipt(ids, options))

  joining(
    program
      .command('dataset <folder>')
      .description('seal the .json and .npy files of a folder for one reader or one provider, serve them by CID'),
    join(home, 'client'),
  )
    .option('--for <peer id>', 'who may read them (default: this identity)')
    .option('--provider <peer id>', 'the provider that fetches each file as the input of a job, with --model')
    .option('--model <cid>', 'CID of the manifest whose inputs they are')
    .addOption(imageOption())
    .option('--once', 'end after announcing', false)
    .option('--json', 'one JSON object a line', false)
    .action(async (folder, options) => (await import('./commands/dataset.ts')).dataset(folder, options))

  joining(
    program
      .command('hold <cid>')
      .description('keep the sealed files of a data set and serve them, so that their owner may go'),
    join(home, 'client'),
  )
    .option('--from <peer id>', 'who has them (default: whoever announced it)')
    .option('--json', 'one JSON object a line', false)
    .action(async (cid, options) => (await import('./commands/dataset.ts')).hold(cid, options))

  joining(
    program.command('results <cid>').description('fetch and open the results of a batch of sealed inputs'),
    join(home, 'client'),
  )
    .requiredOption('--out <folder>', 'where results go, one JSON file each')
    .option('--from <peer id>', 'who has them (default: the provider that made them)')
    .option('--json', 'one JSON object a line', false)
    .action(async (cid, options) => (await import('./commands/results.ts')).results(cid, options))

  joining(
    program
      .command('models [cids...]')
      .description(
        'what is on the network, as peers tell; of models named by their CIDs, who has them loaded and what each asks',
      ),
    join(home, 'client'),
  )
    .option('--ceiling <tokens>', 'highest price per job', '0.1')
    .option('--window <ms>', 'how long bids are gathered', '4000')
    .option('--json', 'one JSON object a line', false)
    .action(async (cids, options) => (await import('./commands/models.ts')).models(cids, options))

  joining(program.command('status').description('tokens, escrow and sessions of the account'), join(home, 'client'))
    .option('--json', 'one JSON object', false)
    .action(async (options) => (await import('./commands/status.ts')).status(options))

  joining(
    program.command('gateway').description('serve the Open Inference Protocol v2 to stock clients, as a light client'),
    join(home, 'client'),
  )
    .option('--model <name=cid...>', 'models to offer, each with the CID of its manifest')
    .option('--embedding <name=cid...>', 'embedding models to offer at /v1/embeddings')
    .option('--tokenizer <name=file...>', 'tokenizer.json of each embedding model')
    .option('--host <address>', 'address to listen on; other than loopback needs --token-file', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 picks one', '8000')
    .option('--ceiling <tokens>', 'highest price per job', '0.1')
    .option('--limit <tokens>', 'the most that all jobs may cost (default: no limit)')
    .option('--providers <n>', 'providers with an open session per model', '2')
    .option('--audit <share>', 'share of the requests that a second provider is asked too, 0 to 1', '0.01')
    .option('--policy <name>', 'how drawn jobs are attested: zk, full or open', 'zk')
    .addOption(regionOption())
    .option('--concurrency <n>', 'requests at once; more are answered 503', '64')
    .option('--token-file <file>', 'API tokens, one a line')
    .option('--cert <file>', 'TLS certificate (PEM)')
    .option('--tls-key <file>', 'its key (PEM)')
    .action(async (options) => (await import('./commands/gateway.ts')).gateway(options))

  program
    .command('page')
    .description('serve the demo page, a light client in the browser, on this machine')
    .addOption(networkOption())
    .addOption(rpcOption())
    .addOption(
      new Option(
        '--bootstrap <addresses...>',
        'multiaddrs of nodes that a browser reaches (…/ws, …/tls/ws, …/webrtc-direct/…)',
      )
        .makeOptionMandatory()
        .env('SINTER_BOOTSTRAP'),
    )
    .requiredOption('--model <cid>', 'CID of the manifest of a model for handwritten digits')
    .option('--port <n>', 'port to listen on; 0 picks one', '8080')
    .option('--devnet', 'a network on this machine only', false)
    .action(async (options) => (await import('./commands/page.ts')).page(options))

  const model = program.command('model').description('check and publish models')
  model
    .command('check <file>')
    .description('say whether an ONNX file (or `digits`) can be served, and what its manifest would fix')
    .option('--samples <path>', 'real inputs to calibrate on: a file or folder of .json, .npy, pictures or float32')
    .addOption(imageOption())
    .option('--tiles <n>', 'tiles drawn per drawn job', '4')
    .option('--draws <n>', 'jobs drawn per batch', '4')
    .action(async (file, options) => (await import('./commands/model.ts')).modelCheck(file, options))
  joining(
    model.command('publish <file>').description('calibrate an ONNX file (or take `digits`) and serve it by content'),
    join(home, 'publisher'),
  )
    .option('--samples <path>', 'real inputs to calibrate on: a file or folder of .json, .npy, pictures or float32')
    .addOption(imageOption())
    .option('--once', 'end after announcing', false)
    .option('--json', 'one JSON object a line', false)
    .action(async (file, options) => (await import('./commands/model.ts')).modelPublish(file, options))

  const cuda = program.command('cuda').description('ONNX Runtime’s libraries for NVIDIA GPUs, which npm does not bring')
  cuda
    .command('install')
    .description('install the libraries of exactly this runtime’s version and say what they need of the machine')
    .option(
      '--from <path>',
      'a wheel of onnxruntime-gpu, or a folder with it or its files (default: download from NuGet)',
    )
    .option('--nuget <url>', 'service index of another NuGet feed')
    .action(async (options) => (await import('./commands/cuda.ts')).cudaInstall(options))

  const chain = program.command('chain').description('put a network on a chain, or check one')
  chain
    .command('deploy')
    .description('deploy all contracts and write the network file')
    .requiredOption('--name <name>', 'name of the network')
    .addOption(rpcOption())
    .option('--params <file>', 'JSON of the parameters that differ from the first values')
    .option('--tiles <n>', 'tiles drawn per drawn job', '8')
    .option('--out <file>', 'where the network file goes', 'network.json')
    .option('--drand <network>', 'slots are drand rounds: `evmnet`, or a JSON file of publicKey, genesis and period')
    .option('--faucet', 'also a faucet that gives tokens to anyone: development networks only', false)
    .option('--data <folder>', 'where the key that pays is kept', join(home, 'deployer'))
    .option('--password-file <file>', 'password of the key file (else the variable SINTER_PASSWORD)')
    .option('--devnet', 'parameters and key of a development network', false)
    .action(async (options) => (await import('./commands/chain.ts')).chainDeploy(options))
  chain
    .command('check')
    .description('compare a network file with what its contracts say')
    .addOption(networkOption())
    .addOption(rpcOption())
    .action(async (options) => (await import('./commands/chain.ts')).chainCheck(options))

  const ceremony = program.command('ceremony').description('take part in the setup of the circuits’ keys, or check it')
  ceremony
    .command('contribute <from> <to>')
    .description('add a contribution, with randomness from the system, to a zkey')
    .option('--name <name>', 'how the contribution is named', 'anonymous')
    .action(async (from, to, options) => (await import('./commands/ceremony.ts')).ceremonyContribute(from, to, options))
  ceremony
    .command('beacon <from> <to>')
    .description('end the contributions to a zkey with a public randomness')
    .requiredOption('--value <hex>', 'the public randomness')
    .option('--exponent <n>', 'it is hashed 2^n times', '10')
    .option('--name <name>', 'how the contribution is named', 'beacon')
    .action(async (from, to, options) => (await import('./commands/ceremony.ts')).ceremonyBeacon(from, to, options))
  ceremony
    .command('verify [circuits...]')
    .description('check keys against phase 1 and the circuits (default: all of this installation)')
    .option('--keys <folder>', 'folder of the zkeys')
    .option('--phase1 <file>', 'phase 1, not prepared')
    .option('--prepared <file>', 'phase 1 that you verified and prepared yourself')
    .option('--r1cs <folder>', 'compiled circuits (default: compile them)')
    .action(async (circuits, options) => (await import('./commands/ceremony.ts')).ceremonyVerify(circuits, options))
  ceremony
    .command('pin <folder>')
    .description('take the zkeys and phase 1 in a folder as this installation’s')
    .option('--phase1 <file>', 'phase 1 (default: phase1.ptau in the folder)')
    .option('--out <folder>', 'where the artifacts go (default: this installation)')
    .action(async (folder, options) => (await import('./commands/ceremony.ts')).ceremonyPin(folder, options))

  return program
}
