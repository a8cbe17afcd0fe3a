/** Who is signed in: a session of the service, which a reload and other tabs share. */

import { Comfyline, Unauthorized } from "@comfyline/client";
import type { Caller } from "@comfyline/client";
import { QueryCache, QueryClient, MutationCache, QueryClientProvider } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { ROOT } from "./address.js";
import {
  Bearer,
  CookieLost,
  SignInRefused,
  mark,
  marked,
  onMark,
  signIn,
  signOut,
} from "./bearer.js";
import { tokenOfAddress } from "./issuer.js";
import { LiveJobs, useFollowing } from "./live.js";
import { SignIn } from "./pages/sign-in.js";
import { takeCode } from "./router.js";
import { useTexts } from "./texts/index.js";

interface Session {
  client: Comfyline;
  live: LiveJobs;
  caller: Caller;
  signOut: () => void;
  /** End all sessions of the key, or of the person. */
  signOutEverywhere: () => void;
}

const Context = createContext<Session | undefined>(undefined);

/** Why the sign-in is shown. */
export type Ending =
  "none" | "over" | "ended" | "link-refused" | "issuer-refused" | "not-signed-out" | "unreachable";

type State =
  { at: "trying" } | { at: "out"; ending: Ending } | { at: "in"; bearer: Bearer; caller: Caller };

/** Shows the sign-in until there is a session, and again when it has ended. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const texts = useTexts();
  const [state, setState] = useState<State>({ at: "trying" });
  const out = (ending: Ending) => setState({ at: "out", ending });
  const ended = () => {
    const endsAt = marked();
    mark(undefined);
    out(endsAt && endsAt <= new Date() ? "over" : "ended");
  };

  /** Show the pages, if the browser has a session. @throws SignInRefused, TransportFailed. */
  async function resume(whenEnded = ended): Promise<void> {
    const bearer = new Bearer(() => whenEnded());
    const caller = await bearer.renew();
    whenEnded = ended;
    setState({ at: "in", bearer, caller });
  }

  async function begin(code: string | undefined): Promise<void> {
    let why: Ending = "issuer-refused";
    try {
      const token = await tokenOfAddress();
      if (!token && code) why = "link-refused";
      const secret = token ?? (marked() ? undefined : code);
      if (secret) await signIn(secret);
      else if (!marked()) return out("none");
    } catch (error) {
      // A link with a foreign answer must not end a session.
      if (!marked()) return out(error instanceof SignInRefused ? why : "unreachable");
    }
    await resume().catch((error) => {
      if (!isEnd(error)) out("unreachable");
    });
  }

  /** @throws SignInRefused, CookieLost, TransportFailed. */
  async function accept(key: string): Promise<void> {
    await signIn(key);
    try {
      await resume(() => undefined);
    } catch (error) {
      throw isEnd(error) ? new CookieLost() : error;
    }
  }

  async function leave(isEverywhere: boolean): Promise<void> {
    setState({ at: "trying" });
    await signOut(isEverywhere).then(
      () => out("none"),
      () => {
        mark(undefined);
        out("not-signed-out");
      },
    );
  }

  useEffect(() => {
    void begin(takeCode());
    return onMark(() => (marked() ? void resume().catch(() => undefined) : out("none")));
  }, []);

  if (state.at === "trying") return <p className="page muted">{texts.loading}</p>;
  if (state.at === "out") return <SignIn ending={state.ending} accept={accept} />;
  return (
    <SignedIn
      key={state.caller.key?.id}
      {...state}
      signOut={() => void leave(false)}
      signOutEverywhere={() => void leave(true)}
    >
      {children}
    </SignedIn>
  );
}

const isEnd = (error: unknown) => error instanceof SignInRefused && error.status === 401;

interface SignedInProps {
  bearer: Bearer;
  caller: Caller;
  signOut: () => void;
  signOutEverywhere: () => void;
  children: ReactNode;
}

function SignedIn({ bearer, children, ...known }: SignedInProps) {
  const [session, queries] = useMemo(() => {
    // A renewal finds out whether the session has ended. If not, the page shows the refusal.
    const refused = (error: unknown) => {
      if (error instanceof Unauthorized) void bearer.renew().catch(() => undefined);
    };
    const queries = new QueryClient({
      queryCache: new QueryCache({ onError: refused }),
      mutationCache: new MutationCache({ onError: refused }),
      // The client repeats what failed for a moment, so nothing is repeated here.
      defaultOptions: { queries: { retry: false, staleTime: 30_000 }, mutations: { retry: false } },
    });
    const client = new Comfyline({ url: ROOT, apiKey: bearer.text });
    const live = new LiveJobs(client, queries, refused);
    return [{ ...known, client, live }, queries] as const;
  }, [bearer]);
  useFollowing(session.live);
  return (
    <QueryClientProvider client={queries}>
      <Context.Provider value={session}>{children}</Context.Provider>
    </QueryClientProvider>
  );
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useSession is used outside of a SessionProvider");
  return session;
}
