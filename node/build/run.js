/**
 * `node node/build/run.js FILE …` runs a TypeScript file of this repository under Node 24, whichever Node the npm script found: npm 11
 * puts the platform package's `node` first on the PATH of scripts, npm 10 does not.
 */
import { resolve } from 'node:path'
import { launch } from '../bin/launch.js'

const [file, ...args] = process.argv.slice(2)
if (file === undefined) throw new Error('name the file to run')
launch(resolve(file), args)
