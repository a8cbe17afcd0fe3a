/** The frame of every page. */

import { lazy, Suspense, useEffect, useRef } from "react";
import { Gallery } from "./pages/gallery.js";
import { useIsLive } from "./live.js";
import { usePlace } from "./router.js";
import { ROOT, SessionProvider, useSession } from "./session.js";
import { LanguageChoice, useTexts } from "./texts/index.js";

const JobPage = lazy(() => import("./pages/job.js"));
const NewJob = lazy(() => import("./pages/new-job.js"));
const UsagePage = lazy(() => import("./pages/usage.js"));

export function App() {
  return (
    <SessionProvider>
      <Frame />
    </SessionProvider>
  );
}

function Frame() {
  const texts = useTexts();
  const { signOut, live } = useSession();
  const place = usePlace();
  const isLive = useIsLive(live);
  return (
    <>
      <a className="skip" href="#content" onClick={skip}>
        {texts.skip}
      </a>
      <header className="top">
        <span className="brand">Comfyline</span>
        <nav aria-label={texts.navigation}>
          <Tab href="#/" pages={["", "jobs"]} text={texts.jobs} />
          <Tab href="#/new" pages={["new"]} text={texts.newJob} />
          <Tab href="#/usage" pages={["usage"]} text={texts.usage} />
          <a href={`${ROOT}/docs`}>{texts.apiDocs}</a>
        </nav>
        <span className="grow" />
        <LanguageChoice />
        <button type="button" className="quiet" onClick={signOut}>
          {texts.signOut}
        </button>
      </header>
      <p className={isLive === false ? "banner" : "sr"} role="status">
        {isLive === undefined ? "" : isLive ? texts.live : texts.offline}
      </p>
      <Suspense fallback={<p className="page muted">{texts.loading}</p>}>
        <Main key={`${place.page}/${place.rest}`}>
          {place.page === "jobs" && place.rest ? (
            <JobPage jobId={decodeURIComponent(place.rest)} />
          ) : place.page === "new" ? (
            <NewJob from={place.query.get("from") ?? undefined} />
          ) : place.page === "usage" ? (
            <UsagePage />
          ) : (
            <Gallery query={place.query} />
          )}
        </Main>
      </Suspense>
    </>
  );
}

/** The content; it takes the focus when another page is shown, so that screen readers begin there. */
function Main({ children }: { children: React.ReactNode }) {
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    if (document.activeElement !== document.body) main.current?.focus();
  }, []);
  return (
    <main id="content" className="page" tabIndex={-1} ref={main}>
      {children}
    </main>
  );
}

function Tab({ href, pages, text }: { href: string; pages: string[]; text: string }) {
  const { page } = usePlace();
  return (
    <a href={href} aria-current={pages.includes(page) ? "page" : undefined}>
      {text}
    </a>
  );
}

/** The fragment names the page, so the link moves the focus by itself. */
function skip(event: React.MouseEvent): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
