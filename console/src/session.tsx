/** The key that the user pasted. It is kept in memory, so a reload of the page signs out. */

import { Comfyline, Forbidden, Unauthorized } from "@comfyline/client";
import { QueryCache, QueryClient, MutationCache, QueryClientProvider } from "@tanstack/react-query";
import { createContext, useContext, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { LiveJobs, useFollowing } from "./live.js";
import { SignIn } from "./pages/sign-in.js";

/** The API is at the root of the deployment, and the page at /console below it. */
export const ROOT = new URL(".", location.href.split(/[?#]/)[0]).href.replace(/\/$/, "");

interface Session {
  client: Comfyline;
  live: LiveJobs;
  signOut: () => void;
}

const Context = createContext<Session | undefined>(undefined);

export type Ending = "signed-out" | "key-ended";

/** Shows the sign-in until there is a key, and again when the service refuses it. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const [key, setKey] = useState<string>();
  const [ending, setEnding] = useState<Ending>("signed-out");
  const end = (why: Ending) => {
    setEnding(why);
    setKey(undefined);
  };
  if (key === undefined) return <SignIn ending={ending} accept={setKey} />;
  return (
    <SignedIn apiKey={key} end={end}>
      {children}
    </SignedIn>
  );
}

function SignedIn(props: { apiKey: string; end: (why: Ending) => void; children: ReactNode }) {
  const { apiKey, end, children } = props;
  const [session, queries] = useMemo(() => {
    const refused = (error: unknown) => {
      if (error instanceof Unauthorized || error instanceof Forbidden) end("key-ended");
    };
    const queries = new QueryClient({
      queryCache: new QueryCache({ onError: refused }),
      mutationCache: new MutationCache({ onError: refused }),
      // The client repeats what failed for a moment, so nothing is repeated here.
      defaultOptions: { queries: { retry: false, staleTime: 30_000 }, mutations: { retry: false } },
    });
    const client = newClient(apiKey);
    const live = new LiveJobs(client, queries, refused);
    return [{ client, live, signOut: () => end("signed-out") }, queries] as const;
  }, [apiKey]);
  useFollowing(session.live);
  return (
    <QueryClientProvider client={queries}>
      <Context.Provider value={session}>{children}</Context.Provider>
    </QueryClientProvider>
  );
}

export function newClient(apiKey: string): Comfyline {
  return new Comfyline({ url: ROOT, apiKey });
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useSession is used outside of a SessionProvider");
  return session;
}
