export const LIGHT_FLAGS: readonly string[]
export const LIGHT_ENV: Readonly<Record<string, string>>
export function launch(program: string, args: readonly string[]): void
