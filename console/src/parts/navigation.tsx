import { useEffect, useState } from "react";
import type { ReactNode } from "react";
import { useScopes } from "../me.js";
import { PAGES, pageOf } from "../pages.js";
import type { Page } from "../pages.js";
import { usePlace } from "../router.js";
import { ROOT } from "../address.js";
import { useTexts } from "../texts/index.js";

/** The links to all pages of the key, and the controls that follow them. In a narrow window a button
 * shows and hides all of it. */
export function Navigation({ children }: { children: ReactNode }) {
  const texts = useTexts();
  const place = usePlace();
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen(false), [place.page, place.rest]);
  return (
    <>
      <button
        type="button"
        className="menu"
        aria-expanded={isOpen}
        aria-controls="menu"
        onClick={() => setOpen(!isOpen)}
      >
        {texts.menu}
      </button>
      <div
        id="menu"
        className={isOpen ? "menu-content open" : "menu-content"}
        onKeyDown={({ key }) => {
          if (key === "Escape") setOpen(false);
        }}
      >
        <nav aria-label={texts.navigation}>
          <Links />
        </nav>
        <span className="grow" />
        {children}
      </div>
    </>
  );
}

function Links() {
  const texts = useTexts();
  const linked = PAGES.filter((page) => page.text);
  const forOperators = linked.filter((page) => page.needsAdmin);
  const isOperator = useScopes().includes("admin");
  return (
    <>
      {linked.map((page) => !page.needsAdmin && <PageLink key={page.name} page={page} />)}
      <a href={`${ROOT}/docs`}>{texts.apiDocs}</a>
      {isOperator && forOperators.length > 0 && (
        <div className="operators" role="group" aria-labelledby="operators">
          <span id="operators" className="muted">
            {texts.operators}
          </span>
          {forOperators.map((page) => (
            <PageLink key={page.name} page={page} />
          ))}
        </div>
      )}
    </>
  );
}

function PageLink({ page }: { page: Page }) {
  const texts = useTexts();
  const { name, within } = pageOf(usePlace());
  return (
    <a href={`#/${page.name}`} aria-current={(within ?? name) === page.name ? "page" : undefined}>
      {page.text!(texts)}
    </a>
  );
}
