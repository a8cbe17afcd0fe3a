/** The API is at the root of the deployment, and the page at /console below it. */
export const ROOT = new URL(".", location.href.split(/[?#]/)[0]).href.replace(/\/$/, "");
