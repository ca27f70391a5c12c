/** `npm run test:attacks`: every cheat over a network of real processes; the tests play some of them. */
process.env.SINTER_ATTACKS = 'all'
await import('../e2e/attacks.test.ts')
