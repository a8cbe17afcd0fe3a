/** What the key may do. */

const NONE: readonly string[] = [];

/** The scopes of the key. The service does not tell them yet, so no page for operators is shown. */
export function useScopes(): readonly string[] {
  return NONE;
}
