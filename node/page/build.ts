import { build } from 'vite'
import { assetPath } from '../../protocol/assets.ts'

/** Bundles the page, with nothing from elsewhere, into .dist/page. Needs the development dependencies. */
export async function buildPage(): Promise<void> {
  await build({
    root: assetPath('node/page/app'),
    configFile: false,
    logLevel: 'warn',
    base: './',
    build: {
      outDir: assetPath('.dist/page'),
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: false,
      chunkSizeWarningLimit: 3_000,
      // Nothing inline: the page's security policy forbids it.
      assetsInlineLimit: 0,
    },
  })
}
