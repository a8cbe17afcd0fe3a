/**
 * Signing in at the deployment's OpenID Connect issuer: authorization code with PKCE (RFC 7636).
 *
 *     page ──> issuer (state, nonce, challenge) ──> page with a code ──> issuer's token (verifier)
 *
 * The service verifies the token's signature and its claims. The page compares the nonce, because only
 * the page knows which sign-in it has begun.
 */

import { TransportFailed } from "@comfyline/client";
import { ROOT } from "./address.js";
import { SignInRefused } from "./bearer.js";

export interface Issuer {
  issuer: string;
  client_id: string;
  scope: string;
  authorization_endpoint: string;
  token_endpoint: string;
}

/** What the page keeps of a sign-in that it has begun; of this tab only. */
interface Begun {
  state: string;
  nonce: string;
  verifier: string;
  token_endpoint: string;
  client_id: string;
  issuer: string;
  hash: string;
}

const BEGUN = `comfyline.sign-in ${ROOT}`;
const PAGE = `${ROOT}/console`;

/** The issuer; undefined if keys are the only way to sign in, or the service cannot tell. */
export async function issuerOf(signal: AbortSignal): Promise<Issuer | undefined> {
  try {
    const answer = await fetch(`${ROOT}/api/v1/sign-in`, { signal });
    const { issuer } = (await answer.json()) as { issuer?: Issuer | null };
    return issuer ?? undefined;
  } catch {
    return undefined;
  }
}

/** Leave for the issuer. */
export async function leaveFor(issuer: Issuer): Promise<void> {
  const [state, nonce, verifier] = [random(), random(), random()];
  const { client_id, scope, token_endpoint } = issuer;
  const begun: Begun = {
    ...{ state, nonce, verifier, token_endpoint, client_id },
    issuer: issuer.issuer,
    hash: location.hash,
  };
  sessionStorage.setItem(BEGUN, JSON.stringify(begun));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(issuer.authorization_endpoint);
  const asked = {
    ...{ client_id, scope, state, nonce },
    response_type: "code",
    redirect_uri: PAGE,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url.href);
}

/**
 * The token that the issuer gives for the code in the address; undefined if there is none.
 *
 * The address and the begun sign-in are cleared first, so a code is used once.
 *
 * @throws SignInRefused the issuer has refused, or the answer is not for a sign-in of this tab.
 */
export async function tokenOfAddress(): Promise<string | undefined> {
  const query = new URLSearchParams(location.search);
  if (!query.has("state") || !(query.has("code") || query.has("error"))) return undefined;
  const begun = takeBegun();
  history.replaceState(null, "", `${PAGE}${begun?.hash ?? ""}`);
  const isOurs = begun !== undefined && query.get("state") === begun.state;
  // RFC 9207: an issuer that names itself must be the one that was asked.
  if (!isOurs || (query.get("iss") ?? begun.issuer) !== begun.issuer)
    throw new SignInRefused(400, "");
  const code = query.get("code");
  if (code === null) throw new SignInRefused(403, query.get("error_description") ?? "");
  const token = await exchanged(code, begun);
  if (claimsOf(token)["nonce"] !== begun.nonce) throw new SignInRefused(400, "");
  return token;
}

async function exchanged(code: string, begun: Begun): Promise<string> {
  const body = new URLSearchParams({
    ...{ code, client_id: begun.client_id, code_verifier: begun.verifier },
    grant_type: "authorization_code",
    redirect_uri: PAGE,
  });
  let answer: Response;
  try {
    answer = await fetch(begun.token_endpoint, { method: "POST", body, credentials: "omit" });
  } catch (cause) {
    throw new TransportFailed("the issuer's token endpoint gave no answer", { cause });
  }
  const { id_token } = (await answer.json().catch(() => ({}))) as { id_token?: unknown };
  if (!answer.ok || typeof id_token !== "string") throw new SignInRefused(answer.status, "");
  return id_token;
}

function takeBegun(): Begun | undefined {
  const text = sessionStorage.getItem(BEGUN);
  sessionStorage.removeItem(BEGUN);
  return text ? (JSON.parse(text) as Begun) : undefined;
}

function claimsOf(token: string): Record<string, unknown> {
  try {
    const part = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(part)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
