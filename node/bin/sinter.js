#!/usr/bin/env node
/**
 * The command. From a checkout it runs the TypeScript source; from the published package, where Node strips no types, the build
 * beside it.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { launch } from './launch.js'

const here = dirname(fileURLToPath(import.meta.url))
const source = join(here, '../cli.ts')
const built = join(here, '../../.dist/node/cli.js')

launch(here.split(/[\\/]/).includes('node_modules') || !existsSync(source) ? built : source, process.argv.slice(2))
