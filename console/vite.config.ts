import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const client = fileURLToPath(new URL("../clients/typescript/src/index.ts", import.meta.url));

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@comfyline/client": client } },
  build: {
    assetsDir: "", // one folder: the API serves /console/{file}
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 600, // kB: three.js, which only a page with a 3D file loads
  },
  experimental: {
    // The page is served at .../console, and an emulator has a path in front of it. So the page names
    // its files relative to itself, and the files name each other relative to themselves.
    renderBuiltUrl: (file, { hostType }) =>
      hostType === "html" ? `console/${file}` : { relative: true },
  },
});
