/** The frame of every page. */

import { Suspense, useEffect, useRef } from "react";
import { useIsLive } from "./live.js";
import { useScopes } from "./me.js";
import { pageOf } from "./pages.js";
import { Navigation } from "./parts/navigation.js";
import { Paused } from "./parts/paused.js";
import { usePlace } from "./router.js";
import { SessionProvider, useSession } from "./session.js";
import { LanguageChoice, useTexts } from "./texts/index.js";

export function App() {
  return (
    <SessionProvider>
      <Frame />
    </SessionProvider>
  );
}

function Frame() {
  const texts = useTexts();
  const { signOut, live, caller } = useSession();
  const place = usePlace();
  const isLive = useIsLive(live);
  return (
    <>
      <a className="skip" href="#content" onClick={skip}>
        {texts.skip}
      </a>
      <header className="top">
        <span className="brand">Comfyline</span>
        <Navigation>
          <LanguageChoice />
          <span className="caller" title={`${texts.signedInAs} ${caller.owner}`}>
            {caller.owner}
          </span>
          <button type="button" className="quiet" onClick={signOut}>
            {texts.signOut}
          </button>
        </Navigation>
      </header>
      <p className={isLive === false ? "banner" : "sr"} role="status">
        {isLive === undefined ? "" : isLive ? texts.live : texts.offline}
      </p>
      <Paused />
      <Suspense fallback={<p className="page muted">{texts.loading}</p>}>
        <Main key={`${place.page}/${place.rest}`}>
          <Content />
        </Main>
      </Suspense>
    </>
  );
}

function Content() {
  const texts = useTexts();
  const place = usePlace();
  const { component: Component, needsAdmin } = pageOf(place);
  const isAllowed = useScopes().includes("admin") || !needsAdmin;
  return isAllowed ? <Component {...place} /> : <h1 className="empty">{texts.needsAdmin}</h1>;
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

/** The fragment names the page, so the link moves the focus by itself. */
function skip(event: React.MouseEvent): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
