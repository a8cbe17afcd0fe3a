/** What the key may do. */

import { useSession } from "./session.js";

/** The scopes of the key, as the sign-in has told them. */
export function useScopes(): readonly string[] {
  return useSession().caller.scopes;
}
