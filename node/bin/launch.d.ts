export const LIGHT_FLAGS: readonly string[]
export const LIGHT_ENV: Readonly<Record<string, string>>
export const SERVING_FLAGS: readonly string[]
export function flagsOf(command: string | undefined, cores?: number): readonly string[]
export function launch(program: string, args: readonly string[]): void
