export const LIGHT_FLAGS: readonly string[]
export function launch(program: string, args: readonly string[]): void
