/** All pages of the console. A page is one entry here, and a text for its link in the navigation. */

import { lazy } from "react";
import type { ComponentType } from "react";
import { Gallery } from "./pages/gallery.js";
import type { Place } from "./router.js";
import type { Texts } from "./texts/en.js";

export interface Page {
  /** What the fragment of the URL begins with: `usage` is `#/usage`. The gallery has the empty name. */
  name: string;
  /** A page gets the rest of the fragment, and its parameters. Pages are loaded when they are shown. */
  component: ComponentType<Place>;
  /** The text of the page's link. A page without one is reached from another page. */
  text?: (texts: Texts) => string;
  /** The page whose link is marked as the current one, if the page has none of its own. */
  within?: string;
  /** The page is one for operators: it is shown only to keys with the scope `admin`. */
  needsAdmin?: true;
}

export const PAGES: readonly Page[] = [
  { name: "", component: Gallery, text: (texts) => texts.jobs },
  { name: "jobs", component: lazy(() => import("./pages/job.js")), within: "" },
  { name: "compare", component: lazy(() => import("./pages/compare.js")), within: "" },
  {
    name: "new",
    component: lazy(() => import("./pages/new-job.js")),
    text: (texts) => texts.newJob,
  },
  {
    name: "usage",
    component: lazy(() => import("./pages/usage.js")),
    text: (texts) => texts.usage,
  },
  {
    name: "keys",
    component: lazy(() => import("./pages/keys.js")),
    text: (texts) => texts.keys,
  },
  {
    name: "now",
    component: lazy(() => import("./pages/admin/now.js")),
    text: (texts) => texts.now,
    needsAdmin: true,
  },
  {
    name: "owners",
    component: lazy(() => import("./pages/admin/owners.js")),
    text: (texts) => texts.ownersLink,
    needsAdmin: true,
  },
  {
    name: "trouble",
    component: lazy(() => import("./pages/admin/trouble.js")),
    text: (texts) => texts.trouble,
    needsAdmin: true,
  },
  {
    name: "switches",
    component: lazy(() => import("./pages/admin/switches.js")),
    text: (texts) => texts.switches,
    needsAdmin: true,
  },
];

/** The page of that name; the gallery where there is none, or where a part of the address is missing. */
export function pageOf({ page: name, rest }: Place): Page {
  const found = PAGES.find((page) => page.name === name);
  return !found || (name === "jobs" && !rest) ? PAGES[0]! : found;
}
